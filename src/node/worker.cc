#include "node/worker.h"

#include <utility>

namespace snapfaas::node {

void Worker::Post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void Worker::Stop() {
  std::call_once(stopping_, [this] {
    std::deque<std::function<void()>> dropped;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      dropped.swap(waiting_);
    }
    changed_.notify_one();
    thread_.join();
  });
}

size_t Worker::pending() {
  const std::lock_guard lock(mutex_);
  return waiting_.size() + (running_ ? 1 : 0);
}

void Worker::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    if (stopped_) return;
    {
      const auto work = std::move(waiting_.front());
      waiting_.pop_front();
      running_ = true;
      lock.unlock();
      work();
    }
    lock.lock();
    running_ = false;
  }
}

}  // namespace snapfaas::node
