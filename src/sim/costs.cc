#include "sim/costs.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <numeric>
#include <utility>

namespace snapfaas::sim {
namespace {

// Of the standard normal distribution.
constexpr double kQuantile99 = 2.3263478740408408;

// Box and Muller's.
double StandardNormal(Random& random) {
  const double radius = std::sqrt(-2 * std::log1p(-random.Uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.Uniform());
}

}  // namespace

Times::Times(std::vector<double> millis, const std::vector<double>& weights) : samples_(std::move(millis)) {
  for (double& sample : samples_) sample = std::max(sample, 0.0);
  std::partial_sum(weights.begin(), weights.end(), std::back_inserter(summed_weights_));
}

Times Times::LogNormal(double median_ms, double p99_ms) {
  Times times;
  times.is_log_normal_ = true;
  times.log_median_ = std::log(median_ms);
  times.sigma_ = std::log(p99_ms / median_ms) / kQuantile99;
  return times;
}

size_t Times::Draw(Random& random) const {
  if (summed_weights_.empty()) return random.Below(samples_.size());
  const double drawn = random.Uniform() * summed_weights_.back();
  const auto found = std::upper_bound(summed_weights_.begin(), summed_weights_.end() - 1, drawn);
  return static_cast<size_t>(found - summed_weights_.begin());
}

double Times::Millis(Random& random) const {
  if (is_log_normal_) return std::exp(log_median_ + sigma_ * StandardNormal(random));
  if (samples_.empty()) return 0;
  return samples_.size() == 1 ? samples_.front() : samples_[Draw(random)];
}

LaunchEffort LaunchCosts::Sample(Random& random) const {
  const size_t count = start.times.samples().size();
  if (count > 0 && load.times.samples().size() == count && run.times.samples().size() == count) {
    const size_t i = start.times.Draw(random);
    return {start.EffortOf(start.times.samples()[i]), load.EffortOf(load.times.samples()[i]),
            run.EffortOf(run.times.samples()[i])};
  }
  return {start.Sample(random), load.Sample(random), run.Sample(random)};
}

std::string_view NameOf(LaunchKind kind) {
  switch (kind) {
    case LaunchKind::kFunctionSnapshot:
      return "restored";
    case LaunchKind::kFunctionSnapshotBare:
      return "restored_bare";
    case LaunchKind::kBaseSnapshot:
      return "cold";
    case LaunchKind::kBaseSnapshotBare:
      return "cold_bare";
    case LaunchKind::kBoot:
      break;
  }
  return "boot";
}

bool Half::Has(double at_ms) const {
  const bool is_in_later = std::fmod(std::floor(at_ms / 1e3 / part_seconds), 2) != 0;
  return is_in_later == is_later;
}

const FunctionCosts& Costs::Of(const std::string& function) const {
  const auto found = functions.find(function);
  return found == functions.end() ? any : found->second;
}

}  // namespace snapfaas::sim
