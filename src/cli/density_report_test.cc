#include "cli/density_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas::cli {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

DensityReport MadeUpDensity() {
  DensityReport report{{{"cpu", "made up"}}, "kvm", "abc", "python3", {128, 1}, {}};
  report.samples = {
      {"primed", "base", {{1, 20480, 2048, 1024, 40960, 5120}, {5, 28672, 10240, 6144, 204800, 25600}}, false}};
  return report;
}

TEST(DensityReport, TableHasWhatOneMicroVmTakesAndWhatOneMoreAdds) {
  const auto table = DensityTable(MadeUpDensity());
  EXPECT_THAT(table, ContainsRegex("primed +base +1 +20\\.00 +2\\.00 +5\\.00 +-"));
  EXPECT_THAT(table, ContainsRegex("primed +base +5 +5\\.60 +2\\.00 +5\\.00 +2\\.00"));
  EXPECT_THAT(table, Not(HasSubstr("did not hold")));
}

TEST(DensityReport, ASharedPartThatShrinksIsNoHugeNumber) {
  auto report = MadeUpDensity();
  report.samples[0].points[1].proportional_kib = 16384;
  EXPECT_THAT(DensityTable(report), ContainsRegex("5 +3\\.20 +2\\.00 +5\\.00 +-1\\.00"));
}

TEST(DensityReport, SaysWhenTheMachineIsFull) {
  auto report = MadeUpDensity();
  report.samples[0].is_full = true;
  EXPECT_THAT(DensityTable(report), HasSubstr("did not hold more microVMs"));
  EXPECT_TRUE(ToJson(report)["samples"][0]["machine_is_full"]);
}

TEST(DensityReport, JsonHasEveryPoint) {
  const auto json = ToJson(MadeUpDensity());
  EXPECT_EQ(json["host"]["cpu"], "made up");
  EXPECT_EQ(json["accelerator"], "kvm");
  EXPECT_EQ(json["memory_mib"], 128);
  const auto& points = json["samples"][0]["points"];
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[1]["microvms"], 5);
  EXPECT_EQ(points[1]["pss_kib"], 28672);
  EXPECT_EQ(points[1]["private_kib"], 10240);
  EXPECT_EQ(points[1]["machine_kib"], 25600);
}

}  // namespace
}  // namespace snapfaas::cli
