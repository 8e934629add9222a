// Processors: the CPUs of a simulated machine, shared by whoever is at work on it.
//
// An activity has work, in nanoseconds of one CPU, and then waits for something that takes no CPU. As long as there are
// no more activities at work than CPUs, each has one. Else time-sharing decides, as Linux does it: who was woken goes
// first with the beginning of his work, his head start; with the rest all go on equally fast, in what those leave. So
// what is short hardly notices that the machine is busy, and what is long pays for it. What has nothing ahead takes
// what all others leave.
//
// Lives on the Timekeeper's thread.
#pragma once

#include <array>
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

// How much of an activity's work goes before others'.
enum class Ahead {
  kNothing,    // and all others go before it
  kBeginning,  // as a thread that was woken: its head start
  kAll,        // as short steps of several threads, each of which is woken for it
};

class Processors {
 public:
  using ActivityId = uint64_t;

  // REQUIRES: count > 0, head_start_ns >= 0; the Timekeeper outlives it.
  Processors(faas::Timekeeper& timekeeper, double count, double head_start_ns)
      : timekeeper_(timekeeper), count_(count), head_start_ns_(head_start_ns) {}
  Processors(const Processors&) = delete;
  Processors& operator=(const Processors&) = delete;
  ~Processors() = default;

  // `done` is called once, when work and wait are over, never from within the call.
  ActivityId Start(const Effort& effort, Ahead ahead, std::function<void()> done);

  // What had nothing ahead shares with the others from now on. Nothing happens where it is over.
  void Raise(ActivityId id);

  // `done` does not come any more. Nothing happens where it has come.
  void Cancel(ActivityId id);

  size_t at_work() const;
  // For how long nobody has worked by now.
  int64_t rested_ns() const { return at_work() > 0 ? 0 : timekeeper_.NowNanos() - advanced_ns_; }
  // What all CPUs together have worked so far.
  double worked_ns() const;

 private:
  enum Level : size_t { kAhead, kShared, kBehind, kLevels };

  // Those who share what CPUs there are for them.
  struct Sharers {
    // By the virtual moment at which their work ends. Virtual time passes as fast as one activity's work is done, so
    // that its end does not change when others come and go.
    std::map<std::pair<double, ActivityId>, ActivityId> work;
    double virtual_ns = 0;
  };
  struct Activity {
    double shared_ns = 0;  // work that is left when its head start is over
    double wait_ns = 0;
    std::function<void()> done;
    Level level = kAhead;                            // while it works
    std::optional<double> work_end;                  // while it works
    std::optional<faas::Timekeeper::TimerId> timer;  // while it waits
  };

  double Rate(Level level) const;  // how fast each of its activities works
  void Work(ActivityId id, Activity& activity, Level level, double work_ns);
  void Advance();
  void Schedule();
  void OnWorkDone();
  void EndWork(ActivityId id);
  void Wait(ActivityId id, Activity& activity);
  void End(ActivityId id);

  faas::Timekeeper& timekeeper_;
  const double count_;
  const double head_start_ns_;

  ActivityId last_id_ = 0;
  std::unordered_map<ActivityId, Activity> activities_;
  std::array<Sharers, kLevels> levels_;
  double worked_ns_ = 0;
  int64_t advanced_ns_ = 0;  // while nobody works, since when
  std::optional<faas::Timekeeper::TimerId> timer_;
  int64_t timer_at_ns_ = 0;
};

}  // namespace snapfaas::sim
