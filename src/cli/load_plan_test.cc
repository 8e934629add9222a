#include "cli/load_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace snapfaas::cli {
namespace {

LoadFunction LoadFunctionOf(double mu_ms, uint32_t users, double start, double end) {
  LoadFunction function;
  function.name = "f";
  function.users = users;
  function.mu_ms = mu_ms;
  function.start_seconds = start;
  function.end_seconds = end;
  return function;
}

Workload WorkloadOf(std::vector<LoadFunction> functions, uint64_t seed = 1) {
  Workload workload;
  workload.seed = seed;
  workload.functions = std::move(functions);
  return workload;
}

std::vector<Arrival> ArrivalsOf(const Workload& workload) {
  auto arrivals = MakeArrivals(workload);
  EXPECT_TRUE(arrivals) << arrivals.error().Message();
  return arrivals ? *arrivals : std::vector<Arrival>();
}

std::vector<double> GapsOf(const std::vector<Arrival>& arrivals) {
  std::vector<double> gaps;
  for (size_t i = 1; i < arrivals.size(); ++i) {
    gaps.push_back(static_cast<double>(arrivals[i].at_ns - arrivals[i - 1].at_ns) / 1e6);
  }
  return gaps;
}

double MeanOf(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST(LoadPlanTest, GapsOfOneUserAreExponential) {
  const auto gaps = GapsOf(ArrivalsOf(WorkloadOf({LoadFunctionOf(10, 1, 0, 200)})));
  const double mean = MeanOf(gaps);
  EXPECT_NEAR(mean, 10, 0.3);
  std::vector<double> squares;
  for (const double gap : gaps) squares.push_back((gap - mean) * (gap - mean));
  EXPECT_NEAR(std::sqrt(MeanOf(squares)), 10, 0.5);
  // The median of an exponential distribution is ln 2 of its mean.
  const auto below = std::count_if(gaps.begin(), gaps.end(), [](double gap) { return gap < 10 * std::log(2.0); });
  EXPECT_NEAR(static_cast<double>(below) / static_cast<double>(gaps.size()), 0.5, 0.02);
}

TEST(LoadPlanTest, UsersAddUp) {
  const auto arrivals = ArrivalsOf(WorkloadOf({LoadFunctionOf(40, 4, 0, 200)}));
  EXPECT_NEAR(MeanOf(GapsOf(arrivals)), 10, 0.3);
  for (uint32_t user = 0; user < 4; ++user) {
    const auto own =
        std::count_if(arrivals.begin(), arrivals.end(), [user](const Arrival& a) { return a.user == user; });
    EXPECT_NEAR(static_cast<double>(own), 5000, 300);
  }
}

TEST(LoadPlanTest, ArrivalsStayBetweenStartAndEndInOrder) {
  const auto arrivals = ArrivalsOf(WorkloadOf({LoadFunctionOf(5, 3, 2, 4), LoadFunctionOf(7, 2, 3, 6)}));
  ASSERT_FALSE(arrivals.empty());
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end(),
                             [](const Arrival& a, const Arrival& b) { return a.at_ns < b.at_ns; }));
  for (const Arrival& arrival : arrivals) {
    EXPECT_GE(arrival.at_ns, arrival.function == 0 ? 2'000'000'000 : 3'000'000'000);
    EXPECT_LT(arrival.at_ns, arrival.function == 0 ? 4'000'000'000 : 6'000'000'000);
  }
}

TEST(LoadPlanTest, TheSeedDecides) {
  const std::vector<LoadFunction> functions = {LoadFunctionOf(20, 2, 0, 10)};
  EXPECT_EQ(ArrivalsOf(WorkloadOf(functions, 7)), ArrivalsOf(WorkloadOf(functions, 7)));
  EXPECT_NE(ArrivalsOf(WorkloadOf(functions, 7)), ArrivalsOf(WorkloadOf(functions, 8)));
  EXPECT_NE(ArrivalsOf(WorkloadOf(functions, 7)), ArrivalsOf(WorkloadOf(functions, 7 + (uint64_t{1} << 32))));
}

// Of another library, compiler or machine too.
TEST(LoadPlanTest, ArrivalsOfASeedNeverChange) {
  const auto arrivals = ArrivalsOf(WorkloadOf({LoadFunctionOf(100, 1, 0, 1)}, 1));
  ASSERT_GE(arrivals.size(), 3U);
  EXPECT_NEAR(static_cast<double>(arrivals[0].at_ns), 54142919, 1);
  EXPECT_NEAR(static_cast<double>(arrivals[1].at_ns), 94044712, 1);
  EXPECT_NEAR(static_cast<double>(arrivals[2].at_ns), 110984624, 1);
}

TEST(LoadPlanTest, AnotherFunctionChangesNothingForTheFirst) {
  auto both = ArrivalsOf(WorkloadOf({LoadFunctionOf(20, 2, 0, 10), LoadFunctionOf(1, 1, 0, 10)}));
  both.erase(std::remove_if(both.begin(), both.end(), [](const Arrival& a) { return a.function == 1; }), both.end());
  EXPECT_EQ(both, ArrivalsOf(WorkloadOf({LoadFunctionOf(20, 2, 0, 10)})));
}

TEST(LoadPlanTest, TooManyArrivalsAreRefused) {
  const auto arrivals = MakeArrivals(WorkloadOf({LoadFunctionOf(0.001, 100'000, 0, 1e6)}));
  ASSERT_FALSE(arrivals);
  EXPECT_EQ(arrivals.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(arrivals.error().context.find("raise mu"), std::string::npos);
}

}  // namespace
}  // namespace snapfaas::cli
