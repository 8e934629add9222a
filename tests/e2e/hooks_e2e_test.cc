// The hooks that a function has run around its snapshot.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/json.h"
#include "e2e_environment.h"
#include "layers.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;
using ::testing::EndsWith;

constexpr int kHookRestores = 5;
constexpr Way kFromFunction{Way::Layer::kFunction, "primed"};
constexpr Way kFromBase{Way::Layer::kBase, "primed"};

class HooksTest : public EndToEndTest {};

TEST_F(HooksTest, RunOnceAtTheSnapshotAndOnceInEachMicroVm) {
  auto layers = Layers::Take("hooks");
  ASSERT_TRUE(layers) << layers.error().Message();
  std::set<std::string> at_snapshot;
  std::set<std::string> drawn;
  for (int i = 0; i < kHookRestores; ++i) {
    SCOPED_TRACE(fmt::format("restore {}", i));
    auto vm = (*layers)->Restore(kFromFunction);
    ASSERT_TRUE(vm) << vm.error().Message();
    for (int call = 0; call < 2; ++call) {
      const auto answer = Ask(*vm, json::object());
      ASSERT_TRUE(answer.is_object() && answer.contains("urandom")) << answer;
      EXPECT_EQ(answer["before"], 1);
      EXPECT_EQ(answer["after"], 1);
      at_snapshot.insert(answer["at_snapshot"].dump());
      drawn.insert(answer["urandom"].dump());
      drawn.insert(answer["random"].dump());
    }
  }
  EXPECT_EQ(at_snapshot.size(), 1u) << "the hook before the snapshot ran after it";
  EXPECT_EQ(drawn.size(), size_t{2} * kHookRestores) << "hooks after a restore share their randomness";

  // Without a snapshot of the function there is nothing for them to do.
  auto vm = (*layers)->Restore(kFromBase);
  ASSERT_TRUE(vm) << vm.error().Message();
  EXPECT_EQ(Ask(*vm, json::object()), json::parse(R"({"before":0,"after":0})"));
}

TEST_F(HooksTest, OneThatFailsAfterTheRestoreIsOneClearError) {
  auto layers = Layers::Take("fails_to_resume");
  ASSERT_TRUE(layers) << layers.error().Message();
  const auto answer = (*layers)->RestoreAndInvoke(kFromFunction, "{}");
  ASSERT_FALSE(answer) << answer->payload;
  EXPECT_EQ(answer.error().code, ErrorCode::kGuestError);
  const std::string message = answer.error().Message();
  EXPECT_THAT(message, EndsWith("the function cannot be loaded: RuntimeError: the database is gone"));
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0);
}

}  // namespace
}  // namespace snapfaas::e2e
