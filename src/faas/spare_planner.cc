#include "faas/spare_planner.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace snapfaas::faas {

void Rhythm::Arrived(int64_t now_ns) {
  if (!is_first_) intervals_[count_++ % kIntervals] = now_ns - last_ns_;
  is_first_ = false;
  last_ns_ = now_ns;
}

std::optional<int64_t> Rhythm::NextNanos() const {
  if (count_ < kIntervals) return std::nullopt;
  const auto [shortest, longest] = std::minmax_element(intervals_.begin(), intervals_.end());
  const int64_t sum = std::accumulate(intervals_.begin(), intervals_.end(), int64_t{0});
  const int64_t mean = sum / static_cast<int64_t>(kIntervals);
  if (*longest - *shortest > mean / 5) return std::nullopt;
  return last_ns_ + *shortest;
}

SparePlanner::SparePlanner(Timekeeper& timekeeper, int64_t lead_ns, Due due)
    : timekeeper_(timekeeper), lead_ns_(lead_ns), due_(std::move(due)) {}

void SparePlanner::Arrived(const FunctionSpec& spec) {
  const int64_t now = timekeeper_.NowNanos();
  Plan& plan = plans_[spec.key];
  plan.spec = spec;
  plan.rhythm.Arrived(now);
  Unset(plan);
  const auto next = plan.rhythm.NextNanos();
  // Where calls come that fast, the microVM of the last one still waits.
  if (!next || *next - lead_ns_ <= now) return;
  plan.timer = timekeeper_.At(*next - lead_ns_, [this, key = spec.key] {
    const auto found = plans_.find(key);
    found->second.timer.reset();
    due_(found->second.spec);
  });
}

void SparePlanner::Forget(const std::function<bool(const FunctionSpec& spec)>& matches) {
  for (auto plan = plans_.begin(); plan != plans_.end();) {
    if (matches(plan->second.spec)) {
      Unset(plan->second);
      plan = plans_.erase(plan);
    } else {
      ++plan;
    }
  }
}

void SparePlanner::Clear() {
  Forget([](const FunctionSpec&) { return true; });
}

void SparePlanner::Unset(Plan& plan) {
  if (plan.timer) timekeeper_.Cancel(*plan.timer);
  plan.timer.reset();
}

}  // namespace snapfaas::faas
