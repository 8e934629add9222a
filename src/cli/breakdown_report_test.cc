#include "cli/breakdown_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas::cli {
namespace {

TEST(BreakdownReport, QuantilesInterpolate) {
  const Spread spread = SpreadOf({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(spread.min, 1);
  EXPECT_DOUBLE_EQ(spread.p25, 1.75);
  EXPECT_DOUBLE_EQ(spread.median, 2.5);
  EXPECT_DOUBLE_EQ(spread.p75, 3.25);
  EXPECT_DOUBLE_EQ(spread.max, 4);
}

TEST(BreakdownReport, OneSampleIsEveryQuantile) {
  const Spread spread = SpreadOf({7});
  EXPECT_DOUBLE_EQ(spread.min, 7);
  EXPECT_DOUBLE_EQ(spread.median, 7);
  EXPECT_DOUBLE_EQ(spread.max, 7);
}

TEST(BreakdownReport, DeviationIsTheMedianOfTheDistances) {
  EXPECT_DOUBLE_EQ(DeviationOf({10, 11, 13, 14, 100}), 2);
  EXPECT_DOUBLE_EQ(DeviationOf({7}), 0);
}

TEST(BreakdownReport, SamplesOfAPhaseKeepTheirOrder) {
  const Runs runs = {{{"vmm", 1}, {"load", 30}}, {{"vmm", 3}, {"load", 10}}};
  EXPECT_THAT(SamplesOf(runs, "load"), ::testing::ElementsAre(30, 10));
  EXPECT_THAT(SamplesOf(runs, "nothing"), ::testing::IsEmpty());
}

TEST(BreakdownReport, MediansAreOfEachPhaseAlone) {
  const Runs runs = {{{"vmm", 1}, {"load", 30}}, {{"vmm", 3}, {"load", 10}}, {{"vmm", 2}, {"load", 20}}};
  EXPECT_DOUBLE_EQ(MedianOf(runs, "vmm"), 2);
  EXPECT_DOUBLE_EQ(MedianOf(runs, "load"), 20);
  EXPECT_DOUBLE_EQ(MedianOf(runs, "nothing"), 0);
}

TEST(BreakdownReport, JsonHasTheMembersOfTheIssueInOrder) {
  faas::RestoreBreakdown restore;
  restore.vmm = 1.23456;
  EXPECT_EQ(
      PhasesToJson(restore).dump(),
      R"({"vmm":1.235,"memory":0.0,"identity":0.0,"mount":0.0,"load":0.0,"request":0.0,"ready":0.0,"response":0.0})");
  EXPECT_EQ(PhasesToJson(faas::BootBreakdown()).dump(),
            R"({"vmm":0.0,"kernel":0.0,"init":0.0,"runtime":0.0,"load":0.0,"request":0.0,"ready":0.0,"response":0.0})");
}

TEST(BreakdownReport, SamplesAreByPhase) {
  const Runs runs = {{{"vmm", 1}}, {{"vmm", 2}}};
  EXPECT_EQ(SamplesToJson(runs).dump(), R"({"vmm":[1.0,2.0]})");
}

TEST(BreakdownReport, TableNamesPhasesAndRuns) {
  const auto table = Table("restore", {{{"mount", 1.25}, {"ready", 10}}});
  EXPECT_THAT(table, ::testing::HasSubstr("restore, 1 runs (ms)"));
  EXPECT_THAT(table, ::testing::HasSubstr("appfs mount"));
  EXPECT_THAT(table, ::testing::HasSubstr("10.0"));
}

}  // namespace
}  // namespace snapfaas::cli
