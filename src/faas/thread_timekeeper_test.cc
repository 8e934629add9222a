#include "faas/thread_timekeeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace snapfaas::faas {
namespace {

using ::testing::ElementsAre;

// Runs `function` on the thread and waits for it.
void OnThread(ThreadTimekeeper& timekeeper, const std::function<void()>& function) {
  std::promise<void> ran;
  timekeeper.Post([&] {
    function();
    ran.set_value();
  });
  ran.get_future().wait();
}

TEST(ThreadTimekeeperTest, PostedFunctionsRunInTheirOrderOnOneOtherThread) {
  ThreadTimekeeper timekeeper;
  std::vector<int> ran;
  std::vector<std::thread::id> threads;
  for (int i = 0; i < 3; ++i) {
    timekeeper.Post([&, i] {
      ran.push_back(i);
      threads.push_back(std::this_thread::get_id());
    });
  }
  timekeeper.Stop();
  EXPECT_THAT(ran, ElementsAre(0, 1, 2));
  ASSERT_EQ(threads.size(), 3u);
  EXPECT_NE(threads[0], std::this_thread::get_id());
  EXPECT_EQ(threads[0], threads[2]);
}

TEST(ThreadTimekeeperTest, TimersRunWhenTheyAreDueInOrderOfTime) {
  ThreadTimekeeper timekeeper;
  std::vector<int> ran;
  std::promise<void> last;
  int64_t first_at = 0;
  int64_t first_due = 0;
  OnThread(timekeeper, [&] {
    const int64_t now = timekeeper.NowNanos();
    first_due = now + 2 * kMilli;
    timekeeper.At(now + 4 * kMilli, [&] {
      ran.push_back(2);
      last.set_value();
    });
    timekeeper.At(first_due, [&] {
      ran.push_back(1);
      first_at = timekeeper.NowNanos();
    });
  });
  last.get_future().wait();
  timekeeper.Stop();
  EXPECT_THAT(ran, ElementsAre(1, 2));
  EXPECT_GE(first_at, first_due);
}

TEST(ThreadTimekeeperTest, CancelledTimerDoesNotRun) {
  ThreadTimekeeper timekeeper;
  bool cancelled_ran = false;
  std::promise<void> later;
  OnThread(timekeeper, [&] {
    const int64_t now = timekeeper.NowNanos();
    const auto timer = timekeeper.At(now + kMilli, [&] { cancelled_ran = true; });
    timekeeper.At(now + 2 * kMilli, [&] { later.set_value(); });
    timekeeper.Cancel(timer);
    timekeeper.Cancel(timer);
  });
  later.get_future().wait();
  timekeeper.Stop();
  EXPECT_FALSE(cancelled_ran);
}

TEST(ThreadTimekeeperTest, StopDropsTimersAndWhatComesLater) {
  ThreadTimekeeper timekeeper;
  auto held = std::make_shared<int>(0);
  bool ran = false;
  OnThread(timekeeper,
           [&] { timekeeper.At(timekeeper.NowNanos() + 3'600'000 * kMilli, [held, &ran] { ran = true; }); });
  timekeeper.Stop();
  timekeeper.Post([held, &ran] { ran = true; });
  timekeeper.Stop();
  EXPECT_FALSE(ran);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ThreadTimekeeperTest, ManyThreadsMayPost) {
  ThreadTimekeeper timekeeper;
  int ran = 0;  // on one thread only
  std::vector<std::thread> posters;
  for (int i = 0; i < 4; ++i) {
    posters.emplace_back([&] {
      for (int j = 0; j < 100; ++j) timekeeper.Post([&ran] { ++ran; });
    });
  }
  for (auto& poster : posters) poster.join();
  timekeeper.Stop();
  EXPECT_EQ(ran, 400);
}

}  // namespace
}  // namespace snapfaas::faas
