#include "faas/thread_timekeeper.h"

#include <chrono>

#include "base/clock.h"

namespace snapfaas::faas {
ThreadTimekeeper::ThreadTimekeeper() : thread_([this] { Run(); }) {}

int64_t ThreadTimekeeper::NowNanos() const { return MonotonicNanos(); }

void ThreadTimekeeper::Post(std::function<void()> function) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  posted_.push_back(std::move(function));
  changed_.notify_one();
}

Timekeeper::TimerId ThreadTimekeeper::At(int64_t at_ns, std::function<void()> function) {
  const std::lock_guard lock(mutex_);
  const TimerId timer = ++last_timer_;
  due_.emplace(timer, at_ns);
  timers_.emplace(TimerKey(at_ns, timer), std::move(function));
  return timer;
}

void ThreadTimekeeper::Cancel(TimerId timer) {
  std::map<TimerKey, Function>::node_type cancelled;  // what it holds ends outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  cancelled = timers_.extract(TimerKey(found->second, timer));
  due_.erase(found);
}

void ThreadTimekeeper::Stop() {
  std::call_once(stopping_, [this] {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      changed_.notify_one();
    }
    thread_.join();
    timers_.clear();
    due_.clear();
  });
}

void ThreadTimekeeper::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (Function next = TakeNext()) {
      lock.unlock();
      next();
      next = nullptr;
      lock.lock();
    } else if (stopped_) {
      return;
    } else if (timers_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, TimePoint(timers_.begin()->first.first));
    }
  }
}

ThreadTimekeeper::Function ThreadTimekeeper::TakeNext() {
  // A flood of posted functions must not hold up time limits.
  if (!stopped_ && !timers_.empty() && timers_.begin()->first.first <= NowNanos()) {
    auto due = timers_.extract(timers_.begin());
    due_.erase(due.key().second);
    return std::move(due.mapped());
  }
  if (posted_.empty()) return nullptr;
  Function next = std::move(posted_.front());
  posted_.pop_front();
  return next;
}

}  // namespace snapfaas::faas
