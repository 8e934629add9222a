#include "sim/processors.h"

#include <algorithm>
#include <cmath>

namespace snapfaas::sim {
namespace {

// Time is whole nanoseconds: what is left of a work by less is none.
constexpr double kRoundingNs = 1;

}  // namespace

double Processors::Rate(Level level) const {
  double cpus = count_;
  for (size_t before = kAhead; before < level; ++before) cpus -= static_cast<double>(levels_[before].work.size());
  cpus = std::max(0.0, cpus);
  const auto sharers = static_cast<double>(levels_[level].work.size());
  return sharers == 0 ? 1 : std::min(1.0, cpus / sharers);
}

size_t Processors::at_work() const {
  size_t count = 0;
  for (const Sharers& sharers : levels_) count += sharers.work.size();
  return count;
}

double Processors::worked_ns() const {
  const auto passed = static_cast<double>(timekeeper_.NowNanos() - advanced_ns_);
  double rate = 0;
  for (const Level level : {kAhead, kShared, kBehind})
    rate += Rate(level) * static_cast<double>(levels_[level].work.size());
  return worked_ns_ + passed * rate;
}

Processors::ActivityId Processors::Start(const Effort& effort, Ahead ahead, std::function<void()> done) {
  const ActivityId id = ++last_id_;
  Activity& activity = activities_[id];
  activity.wait_ns = effort.wait_ns;
  activity.done = std::move(done);
  if (effort.work_ns <= 0) {
    Wait(id, activity);
    return id;
  }
  Advance();
  const double ahead_ns = ahead == Ahead::kAll       ? effort.work_ns
                          : ahead == Ahead::kNothing ? 0
                                                     : std::min(effort.work_ns, head_start_ns_);
  activity.shared_ns = effort.work_ns - ahead_ns;
  if (ahead_ns > 0) {
    Work(id, activity, kAhead, ahead_ns);
  } else {
    Work(id, activity, ahead == Ahead::kNothing ? kBehind : kShared, std::exchange(activity.shared_ns, 0));
  }
  Schedule();
  return id;
}

void Processors::Raise(ActivityId id) {
  const auto found = activities_.find(id);
  if (found == activities_.end()) return;
  Activity& activity = found->second;
  if (!activity.work_end || activity.level != kBehind) return;
  Advance();
  const double left_ns = *activity.work_end - levels_[kBehind].virtual_ns;
  levels_[kBehind].work.erase({*activity.work_end, id});
  Work(id, activity, kShared, std::max(0.0, left_ns));
  Schedule();
}

void Processors::Cancel(ActivityId id) {
  const auto found = activities_.find(id);
  if (found == activities_.end()) return;
  const Activity& activity = found->second;
  if (activity.work_end) {
    Advance();
    levels_[activity.level].work.erase({*activity.work_end, id});
    Schedule();
  } else if (activity.timer) {
    timekeeper_.Cancel(*activity.timer);
  }
  activities_.erase(found);
}

// REQUIRES: advanced to now.
void Processors::Work(ActivityId id, Activity& activity, Level level, double work_ns) {
  Sharers& sharers = levels_[level];
  // Otherwise its digits would be lost after a long run.
  if (sharers.work.empty()) sharers.virtual_ns = 0;
  activity.level = level;
  activity.work_end = sharers.virtual_ns + work_ns;
  sharers.work.emplace(std::pair(*activity.work_end, id), id);
}

void Processors::Advance() {
  const int64_t now = timekeeper_.NowNanos();
  const double rates[] = {Rate(kAhead), Rate(kShared), Rate(kBehind)};
  for (const Level level : {kAhead, kShared, kBehind}) {
    const double passed = static_cast<double>(now - advanced_ns_) * rates[level];
    levels_[level].virtual_ns += passed;
    worked_ns_ += passed * static_cast<double>(levels_[level].work.size());
  }
  advanced_ns_ = now;
}

// REQUIRES: advanced to now.
void Processors::Schedule() {
  std::optional<int64_t> next_ns;
  for (const Level level : {kAhead, kShared, kBehind}) {
    const Sharers& sharers = levels_[level];
    const double rate = Rate(level);
    if (sharers.work.empty() || rate == 0) continue;
    const double left = std::max(0.0, sharers.work.begin()->first.first - sharers.virtual_ns);
    const int64_t end_ns = advanced_ns_ + static_cast<int64_t>(std::ceil(left / rate));
    next_ns = next_ns ? std::min(*next_ns, end_ns) : end_ns;
  }
  if (next_ns && timer_ && *next_ns == timer_at_ns_) return;
  if (timer_) timekeeper_.Cancel(*timer_);
  timer_.reset();
  if (!next_ns) return;
  timer_at_ns_ = *next_ns;
  timer_ = timekeeper_.At(*next_ns, [this] { OnWorkDone(); });
}

void Processors::OnWorkDone() {
  timer_.reset();
  Advance();
  // What is shared first: who comes from his head start into it has nothing of this time.
  for (const Level level : {kBehind, kShared, kAhead}) {
    Sharers& sharers = levels_[level];
    while (!sharers.work.empty() && sharers.work.begin()->first.first <= sharers.virtual_ns + kRoundingNs) {
      const ActivityId id = sharers.work.begin()->second;
      sharers.work.erase(sharers.work.begin());
      EndWork(id);
    }
  }
  Schedule();
}

// Of its level.
void Processors::EndWork(ActivityId id) {
  Activity& activity = activities_.at(id);
  activity.work_end.reset();
  if (const double shared_ns = std::exchange(activity.shared_ns, 0); shared_ns > 0) {
    Work(id, activity, kShared, shared_ns);
  } else {
    Wait(id, activity);
  }
}

void Processors::Wait(ActivityId id, Activity& activity) {
  const auto wait_ns = static_cast<int64_t>(activity.wait_ns);
  if (wait_ns <= 0) {
    timekeeper_.Post([this, id] { End(id); });
  } else {
    activity.timer = timekeeper_.At(timekeeper_.NowNanos() + wait_ns, [this, id] { End(id); });
  }
}

void Processors::End(ActivityId id) {
  auto ended = activities_.extract(id);
  // It may have been cancelled since its end was posted.
  if (!ended.empty()) ended.mapped().done();
}

}  // namespace snapfaas::sim
