#include "cli/working_set_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas::cli {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

WorkingSetReport MadeUpSets() {
  WorkingSetReport report{{{"cpu", "made up"}}, "kvm", "abc", "python3", {128, 1}, {R"({"n":1})", R"({"n":2})"}, {}};
  WorkingSetLayer layer{"base", 8000, {}};
  layer.runs.push_back({"mmap", 0, 30, 90, 700, WorkingSetRun::Touched{900, 500, {}}});
  layer.runs.push_back({"mmap", 1, 31, 92, 720, WorkingSetRun::Touched{910, 510, {0.95}}});
  layer.runs.push_back({"mmap", 1, 31, 94, 740, WorkingSetRun::Touched{920, 520, {0.9, 0.99}}});
  layer.runs.push_back({"prefetch", 0, 20, 50, 40, std::nullopt});
  report.layers.push_back(layer);
  return report;
}

TEST(WorkingSetReport, TableHasARowForEachMode) {
  const auto table = WorkingSetTable(MadeUpSets());
  EXPECT_THAT(table, ContainsRegex("base +mmap +92\\.0 +720 +910 +510"));
  EXPECT_THAT(table, ContainsRegex("base +prefetch +50\\.0 +40 +- +-"));
  EXPECT_THAT(table, HasSubstr("base layer: 95.0 % of a request's pages were an earlier one's too (median; 90.0 %"));
}

TEST(WorkingSetReport, OneRunHasNothingToRecur) {
  auto report = MadeUpSets();
  report.layers[0].runs.resize(1);
  EXPECT_THAT(WorkingSetTable(report), Not(HasSubstr("%")));
}

TEST(WorkingSetReport, JsonHasEveryRun) {
  const auto json = ToJson(MadeUpSets());
  EXPECT_EQ(json["events"][1], R"({"n":2})");
  const auto& layer = json["layers"][0];
  EXPECT_EQ(layer["stored_pages"], 8000);
  ASSERT_EQ(layer["runs"].size(), 4U);
  EXPECT_EQ(layer["runs"][2].dump(),
            R"({"mode":"mmap","input":1,"ready_ms":31.0,"response_ms":94.0,"faults":740,"read_pages":920,)"
            R"("written_pages":520,"recurrence":[0.9,0.99]})");
  EXPECT_FALSE(layer["runs"][3].contains("recurrence"));
}

}  // namespace
}  // namespace snapfaas::cli
