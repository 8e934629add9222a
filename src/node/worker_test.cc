#include "node/worker.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace snapfaas::node {
namespace {

TEST(Worker, RunsInOrder) {
  std::vector<int> seen;
  std::promise<void> done;
  Worker worker;
  for (int i = 0; i < 3; ++i) worker.Post([&seen, i] { seen.push_back(i); });
  worker.Post([&done] { done.set_value(); });
  done.get_future().wait();
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2}));
}

TEST(Worker, StopEndsWhatRunsAndDropsWhatWaits) {
  std::promise<void> begun;
  std::promise<void> go_on;
  bool ran_first = false;
  bool ran_second = false;
  Worker worker;
  worker.Post([&] {
    begun.set_value();
    go_on.get_future().wait();
    ran_first = true;
  });
  worker.Post([&] { ran_second = true; });
  begun.get_future().wait();
  EXPECT_EQ(worker.pending(), 2U);
  auto stopping = std::async(std::launch::async, [&worker] { worker.Stop(); });
  while (worker.pending() > 1) std::this_thread::yield();
  go_on.set_value();
  stopping.get();
  worker.Post([&] { ran_second = true; });
  EXPECT_TRUE(ran_first);
  EXPECT_FALSE(ran_second);
}

}  // namespace
}  // namespace snapfaas::node
