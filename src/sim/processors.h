// Processors: the CPUs of a simulated machine, shared by whoever is at work on it.
//
// An activity has work, in nanoseconds of one CPU, and then waits for something that takes no CPU. As long as there are
// no more activities at work than CPUs, each has one; else all go on equally fast, with their share (processor
// sharing, which is what a time-sharing scheduler comes to).
//
// Lives on the Timekeeper's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "faas/timekeeper.h"

namespace snapfaas::sim {

struct Effort {
  double work_ns = 0;
  double wait_ns = 0;
};

class Processors {
 public:
  using ActivityId = uint64_t;

  // REQUIRES: count > 0; the Timekeeper outlives it.
  Processors(faas::Timekeeper& timekeeper, double count) : timekeeper_(timekeeper), count_(count) {}
  Processors(const Processors&) = delete;
  Processors& operator=(const Processors&) = delete;
  ~Processors() = default;

  // `done` is called once, when work and wait are over, never from within the call.
  ActivityId Start(const Effort& effort, std::function<void()> done);

  // `done` does not come any more. Nothing happens where it has come.
  void Cancel(ActivityId id);

  size_t at_work() const { return work_.size(); }
  // What all CPUs together have worked so far.
  double worked_ns() const;

 private:
  // By the virtual moment at which the work ends.
  using WorkKey = std::pair<double, ActivityId>;
  struct Activity {
    double wait_ns = 0;
    std::function<void()> done;
    std::optional<double> work_end;                  // while it works
    std::optional<faas::Timekeeper::TimerId> timer;  // while it waits
  };

  double rate() const;
  void Advance();
  void Schedule();
  void OnWorkDone();
  void Wait(ActivityId id, Activity& activity);
  void End(ActivityId id);

  faas::Timekeeper& timekeeper_;
  const double count_;

  ActivityId last_id_ = 0;
  std::unordered_map<ActivityId, Activity> activities_;
  std::map<WorkKey, ActivityId> work_;
  // Virtual time passes as fast as one activity's work is done, so that its end does not change when others come and
  // go.
  double virtual_ns_ = 0;
  double worked_ns_ = 0;
  int64_t advanced_ns_ = 0;
  std::optional<faas::Timekeeper::TimerId> timer_;
  int64_t timer_at_ns_ = 0;
};

}  // namespace snapfaas::sim
