// WorkerThreads: runs jobs that block, each on a thread of its own as long as there are not too many; the threads are
// used again. Jobs beyond `max_threads` wait for a thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace snapfaas::node {

class WorkerThreads {
 public:
  explicit WorkerThreads(size_t max_threads) : max_threads_(max_threads) {}
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;
  ~WorkerThreads() { Finish(); }

  // From any thread, a job's too. Where the system has no more threads, those that are there serve, or else the caller.
  // REQUIRES: Finish has not returned.
  void Run(std::function<void()> job);

  // Returns when all jobs are done, those that jobs have started too, and all threads have ended.
  void Finish();

 private:
  void Work();
  bool AddThread();

  const size_t max_threads_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool finishing_ = false;
};

}  // namespace snapfaas::node
