// Worker: one thread that runs what it is given, one after the other; for work that blocks, such as reading the disk.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace snapfaas::node {

class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { Stop(); }

  // Dropped after Stop. From any thread.
  void Post(std::function<void()> work);

  // Returns when what runs has ended; what waits is dropped. From any thread but its own; again: does nothing.
  void Stop();

  // What waits, and what runs.
  size_t pending();

 private:
  void Run();

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool running_ = false;
  bool stopped_ = false;

  std::once_flag stopping_;
  std::thread thread_;
};

}  // namespace snapfaas::node
