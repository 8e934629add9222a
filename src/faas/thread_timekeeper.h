// ThreadTimekeeper: real time, and a thread of its own that runs what is posted and what is due. Something due runs
// before what was posted later than it was due.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "faas/timekeeper.h"

namespace snapfaas::faas {

class ThreadTimekeeper : public Timekeeper {
 public:
  ThreadTimekeeper();
  ThreadTimekeeper(const ThreadTimekeeper&) = delete;
  ThreadTimekeeper& operator=(const ThreadTimekeeper&) = delete;
  ~ThreadTimekeeper() override { Stop(); }

  // Of CLOCK_MONOTONIC. From any thread.
  int64_t NowNanos() const override;
  void Post(std::function<void()> function) override;
  TimerId At(int64_t at_ns, std::function<void()> function) override;
  void Cancel(TimerId timer) override;

  // Runs what was posted before and returns when the thread has ended. What is posted later, and what is not due by
  // then, is dropped. From any thread but its own; again: does nothing.
  void Stop();

 private:
  using Function = std::function<void()>;
  using TimerKey = std::pair<int64_t, TimerId>;  // due at, and those of one moment in their order

  void Run();
  // Whatever comes next of what was posted and what is due, or nothing.
  Function TakeNext();

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Function> posted_;
  std::map<TimerKey, Function> timers_;
  std::unordered_map<TimerId, int64_t> due_;
  TimerId last_timer_ = 0;
  bool stopped_ = false;

  std::once_flag stopping_;
  std::thread thread_;
};

}  // namespace snapfaas::faas
