// WorkerPool: threads for what blocks, so that the server's do not: the registry, the disk, hashes of big bodies. What
// waits for a thread is bounded.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace snapfaas::gateway {

class WorkerPool {
 public:
  WorkerPool(unsigned threads, size_t max_waiting);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();  // Stop

  // False when too much waits or the pool is stopped: `work` is destroyed uncalled. From any thread.
  [[nodiscard]] bool Post(std::function<void()> work);

  // Takes no more, ends what it has, and returns.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::gateway
