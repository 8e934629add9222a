// ManualTimekeeper: time that jumps from one event to the next, on the thread of who drives it. For tests and the
// simulator.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "faas/timekeeper.h"

namespace snapfaas::faas {

class ManualTimekeeper : public Timekeeper {
 public:
  int64_t NowNanos() const override { return now_; }
  void Post(std::function<void()> function) override { posted_.push_back(std::move(function)); }

  TimerId At(int64_t at_ns, std::function<void()> function) override {
    const TimerId timer = ++last_timer_;
    due_.emplace(timer, at_ns);
    timers_.emplace(std::pair(at_ns, timer), std::move(function));
    return timer;
  }

  void Cancel(TimerId timer) override {
    const auto found = due_.find(timer);
    if (found == due_.end()) return;
    timers_.erase(std::pair(found->second, timer));
    due_.erase(found);
  }

  // Runs one thing: what was posted first, else the first timer, to whose time it jumps. False: there is none, or none
  // up to `until_ns`.
  bool Step(std::optional<int64_t> until_ns = std::nullopt) {
    if (!posted_.empty()) {
      const auto function = std::move(posted_.front());
      posted_.pop_front();
      function();
      return true;
    }
    if (timers_.empty() || (until_ns && timers_.begin()->first.first > *until_ns)) return false;
    auto due = timers_.extract(timers_.begin());
    due_.erase(due.key().second);
    if (due.key().first > now_) now_ = due.key().first;
    due.mapped()();
    return true;
  }

  // What was posted, and what that posts; time stands.
  void RunPosted() {
    while (!posted_.empty()) Step();
  }

  void RunUntil(int64_t at_ns) {
    while (Step(at_ns)) {
    }
    if (at_ns > now_) now_ = at_ns;
  }
  void RunFor(int64_t nanos) { RunUntil(now_ + nanos); }

  // To the last event.
  void RunAll() {
    while (Step()) {
    }
  }

  size_t timers() const { return timers_.size(); }

 private:
  int64_t now_ = 1'000'000'000;
  std::deque<std::function<void()>> posted_;
  std::map<std::pair<int64_t, TimerId>, std::function<void()>> timers_;
  std::unordered_map<TimerId, int64_t> due_;
  TimerId last_timer_ = 0;
};

}  // namespace snapfaas::faas
