#include "sim/processors.h"

#include <algorithm>
#include <cmath>

namespace snapfaas::sim {
namespace {

// Time is whole nanoseconds: what is left of a work by less is none.
constexpr double kRoundingNs = 1;

}  // namespace

double Processors::rate() const {
  return work_.empty() ? 1 : std::min(1.0, count_ / static_cast<double>(work_.size()));
}

double Processors::worked_ns() const {
  const auto passed = static_cast<double>(timekeeper_.NowNanos() - advanced_ns_);
  return worked_ns_ + passed * rate() * static_cast<double>(work_.size());
}

Processors::ActivityId Processors::Start(const Effort& effort, std::function<void()> done) {
  const ActivityId id = ++last_id_;
  Activity& activity = activities_[id];
  activity.wait_ns = effort.wait_ns;
  activity.done = std::move(done);
  if (effort.work_ns <= 0) {
    Wait(id, activity);
    return id;
  }
  Advance();
  // Otherwise its digits would be lost after a long run.
  if (work_.empty()) virtual_ns_ = 0;
  activity.work_end = virtual_ns_ + effort.work_ns;
  work_.emplace(WorkKey(*activity.work_end, id), id);
  Schedule();
  return id;
}

void Processors::Cancel(ActivityId id) {
  const auto found = activities_.find(id);
  if (found == activities_.end()) return;
  if (found->second.work_end) {
    Advance();
    work_.erase(WorkKey(*found->second.work_end, id));
    Schedule();
  } else if (found->second.timer) {
    timekeeper_.Cancel(*found->second.timer);
  }
  activities_.erase(found);
}

void Processors::Advance() {
  const int64_t now = timekeeper_.NowNanos();
  const double passed = static_cast<double>(now - advanced_ns_) * rate();
  virtual_ns_ += passed;
  worked_ns_ += passed * static_cast<double>(work_.size());
  advanced_ns_ = now;
}

// REQUIRES: advanced to now.
void Processors::Schedule() {
  if (work_.empty()) {
    if (timer_) timekeeper_.Cancel(*timer_);
    timer_.reset();
    return;
  }
  const double left = std::max(0.0, work_.begin()->first.first - virtual_ns_);
  const int64_t at_ns = advanced_ns_ + static_cast<int64_t>(std::ceil(left / rate()));
  if (timer_ && at_ns == timer_at_ns_) return;
  if (timer_) timekeeper_.Cancel(*timer_);
  timer_at_ns_ = at_ns;
  timer_ = timekeeper_.At(at_ns, [this] { OnWorkDone(); });
}

void Processors::OnWorkDone() {
  timer_.reset();
  Advance();
  while (!work_.empty() && work_.begin()->first.first <= virtual_ns_ + kRoundingNs) {
    const ActivityId id = work_.begin()->second;
    work_.erase(work_.begin());
    Activity& activity = activities_.at(id);
    activity.work_end.reset();
    Wait(id, activity);
  }
  Schedule();
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
