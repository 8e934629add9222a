#include "node/worker_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

namespace snapfaas::node {
namespace {

TEST(WorkerThreads, JobsThatWaitForEachOtherRunAtOnce) {
  WorkerThreads workers(3);
  std::latch together(3);
  for (int i = 0; i < 3; ++i) workers.Run([&together] { together.arrive_and_wait(); });
  workers.Finish();
  SUCCEED();
}

TEST(WorkerThreads, NoMoreThreadsThanAllowedAndEveryJobRuns) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> ran = 0;
  WorkerThreads workers(2);
  for (int i = 0; i < 100; ++i) {
    workers.Run([&] {
      ++ran;
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
  }
  workers.Finish();
  EXPECT_EQ(ran, 100);
  EXPECT_LE(threads.size(), 2U);
}

TEST(WorkerThreads, AThreadIsUsedAgain) {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::thread::id> threads;
  WorkerThreads workers(1);
  for (size_t i = 0; i < 3; ++i) {
    size_t ran = 0;
    workers.Run([&] {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
      ++ran;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&ran] { return ran == 1; });
  }
  EXPECT_EQ(threads.size(), 1U);
}

TEST(WorkerThreads, FinishWaitsForWhatJobsStart) {
  std::atomic<int> ran = 0;
  WorkerThreads workers(2);
  std::function<void()> chain = [&] {
    if (++ran < 20) workers.Run(chain);
  };
  workers.Run(chain);
  workers.Finish();
  EXPECT_EQ(ran, 20);
}

}  // namespace
}  // namespace snapfaas::node
