#include "cli/load_plan.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <tuple>

namespace snapfaas::cli {
namespace {

// The standard defines what seed_seq and the engine give, but not what its distributions do with it.
std::mt19937_64 RandomOf(uint64_t seed, uint32_t function, uint32_t user) {
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), function, user};
  return std::mt19937_64(sequence);
}

// Exponentially distributed, by the inverse of its distribution function.
double NextGap(std::mt19937_64& random, double mean) {
  const double uniform = static_cast<double>(random() >> 11) * 0x1.0p-53;  // [0, 1)
  return -mean * std::log1p(-uniform);
}

double ExpectedArrivals(const Workload& workload) {
  double sum = 0;
  for (const LoadFunction& function : workload.functions) {
    sum += function.users * (function.end_seconds - function.start_seconds) * 1e3 / function.mu_ms;
  }
  return sum;
}

}  // namespace

Result<std::vector<Arrival>> MakeArrivals(const Workload& workload) {
  const double expected = ExpectedArrivals(workload);
  if (expected > static_cast<double>(kMaxArrivals)) {
    return Fail(ErrorCode::kInvalidArgument,
                "the workload is about {:.0f} requests, more than the {} that fit in one run: raise mu, or shorten it",
                expected, kMaxArrivals);
  }
  std::vector<Arrival> arrivals;
  arrivals.reserve(static_cast<size_t>(expected));
  for (uint32_t i = 0; i < workload.functions.size(); ++i) {
    const LoadFunction& function = workload.functions[i];
    for (uint32_t user = 0; user < function.users; ++user) {
      std::mt19937_64 random = RandomOf(workload.seed, i, user);
      const double mean_ns = function.mu_ms * 1e6;
      double at_ns = function.start_seconds * 1e9 + NextGap(random, mean_ns);
      while (at_ns < function.end_seconds * 1e9) {
        arrivals.push_back({static_cast<int64_t>(at_ns), i, user});
        at_ns += NextGap(random, mean_ns);
      }
    }
  }
  std::sort(arrivals.begin(), arrivals.end(), [](const Arrival& a, const Arrival& b) {
    return std::tie(a.at_ns, a.function, a.user) < std::tie(b.at_ns, b.function, b.user);
  });
  return arrivals;
}

}  // namespace snapfaas::cli
