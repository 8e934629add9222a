#include "node/worker_threads.h"

#include <system_error>
#include <utility>

namespace snapfaas::node {

void WorkerThreads::Run(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  const bool has_thread = idle_ > jobs_.size() || (threads_.size() < max_threads_ && AddThread()) || !threads_.empty();
  if (!has_thread) {
    lock.unlock();
    job();
    return;
  }
  jobs_.push_back(std::move(job));
  changed_.notify_one();
}

bool WorkerThreads::AddThread() {
  try {
    threads_.emplace_back([this] { Work(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void WorkerThreads::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    // The last one that rests while there is nothing to do knows that nothing more comes.
    changed_.wait(lock, [this] { return !jobs_.empty() || (finishing_ && idle_ == threads_.size()); });
    if (jobs_.empty()) {
      changed_.notify_all();
      return;  // stays counted as idle, for the others to see the end too
    }
    --idle_;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes without the lock
    lock.lock();
  }
}

void WorkerThreads::Finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
  }
  for (size_t i = 0;; ++i) {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      if (i == threads_.size()) break;
      thread = std::move(threads_[i]);
    }
    if (thread.joinable()) thread.join();
  }
}

}  // namespace snapfaas::node
