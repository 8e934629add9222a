#include "cli/runtime_build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <thread>

namespace snapfaas::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class RunBuildsTest : public ::testing::Test {
 protected:
  std::vector<std::string> Run(const std::vector<std::string>& names, unsigned jobs) {
    return RunBuilds(
        names, jobs,
        [this](const std::string& name) -> Status {
          if (make) make(name);
          if (unmakeable.contains(name)) return Fail(ErrorCode::kSystem, "no image of {}", name);
          const std::lock_guard lock(mutex_);
          made_.push_back(name);
          return {};
        },
        [this](const std::string& name) -> Status {
          EXPECT_EQ(std::this_thread::get_id(), caller_);
          if (unsnappable.contains(name)) return Fail(ErrorCode::kSystem, "no snapshot of {}", name);
          then_.push_back(name);
          return {};
        },
        [this](const std::string& name, const Error& error) { said_.push_back(name + ": " + error.Message()); });
  }

  std::function<void(const std::string& name)> make;
  std::set<std::string> unmakeable;
  std::set<std::string> unsnappable;
  std::thread::id caller_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::vector<std::string> made_;
  std::vector<std::string> then_;
  std::vector<std::string> said_;
};

TEST_F(RunBuildsTest, AllAreMadeAndThenFinished) {
  for (const unsigned jobs : {0U, 1U, 3U, 100U}) {
    made_.clear();
    then_.clear();
    EXPECT_THAT(Run({"a", "b", "c", "d"}, jobs), IsEmpty());
    EXPECT_THAT(made_, UnorderedElementsAre("a", "b", "c", "d"));
    EXPECT_THAT(then_, UnorderedElementsAre("a", "b", "c", "d"));
  }
  EXPECT_THAT(Run({}, 2), IsEmpty());
}

TEST_F(RunBuildsTest, OneThatFailsDoesNotStopTheOthers) {
  unmakeable = {"c"};
  unsnappable = {"a"};
  EXPECT_THAT(Run({"c", "b", "a", "d"}, 2), ElementsAre("a", "c"));
  EXPECT_THAT(then_, UnorderedElementsAre("b", "d"));
  EXPECT_THAT(said_, UnorderedElementsAre("a: no snapshot of a", "c: no image of c"));
}

TEST_F(RunBuildsTest, SoManyAreMadeAtATime) {
  std::promise<void> second_began;
  make = [&](const std::string& name) {
    // The first one ends only once the second one has begun.
    if (name == "a") {
      EXPECT_EQ(second_began.get_future().wait_for(std::chrono::minutes(1)), std::future_status::ready);
    }
    if (name == "b") second_began.set_value();
  };
  EXPECT_THAT(Run({"a", "b"}, 2), IsEmpty());
  EXPECT_THAT(then_, UnorderedElementsAre("a", "b"));
}

}  // namespace
}  // namespace snapfaas::cli
