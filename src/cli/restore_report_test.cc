#include "cli/restore_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace snapfaas::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Runs RestoreRuns(double ready, double response) {
  return {{{"vmm", 1}, {"ready", ready - 1}, {"response", response - 1}},
          {{"vmm", 2}, {"ready", ready}, {"response", response}},
          {{"vmm", 3}, {"ready", ready + 3}, {"response", response + 3}}};
}

RestoreSample RestoreSampleOf(std::string mode, std::string store, std::string layer, faas::VmSize size, double ready) {
  return {
      std::move(mode), std::move(store), std::move(layer), size, RestoreRuns(ready, 2 * ready), {1, 2, 4}, 2560, 4096};
}

constexpr faas::VmSize kSmall{128, 1};
constexpr faas::VmSize kLarge{3072, 1};

RestoreReport MadeUp() {
  RestoreReport report;
  report.host = {{"cpu", "made up"}, {"cpus", 2}, {"kernel", "6.1"}};
  report.accelerator = "kvm";
  report.commit = "abc";
  report.runtime = "python3";
  report.boot_size = kSmall;
  report.boots = {{{"ready", 400}, {"response", 500}}};
  report.floors = {{kSmall, {1.5}, {0.5}}, {kLarge, {1.75}, {0.75}}};
  report.samples = {RestoreSampleOf("copy", "memory", "base", kSmall, 20),
                    RestoreSampleOf("prefetch", "memory", "base", kSmall, 4),
                    RestoreSampleOf("prefetch", "memory", "function", kSmall, 8),
                    RestoreSampleOf("disk-prefetch", "disk-cold", "base", kSmall, 10),
                    RestoreSampleOf("prefetch", "memory", "base", kLarge, 5)};
  return report;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(RestoreReport, JsonHasItsMembersInOrder) {
  RestoreReport report = MadeUp();
  report.samples.resize(1);
  EXPECT_EQ(ToJson(report).dump(),
            R"({"host":{"cpu":"made up","cpus":2,"kernel":"6.1"},"accelerator":"kvm","commit":"abc",)"
            R"("samples":[{"runtime":"python3","memory_mib":128,"vcpus":1,"mode":"copy","store":"memory",)"
            R"("layer":"base","phase_ms":{"vmm":2.0,"ready":20.0,"response":40.0},"ready_ms":[19.0,20.0,23.0],)"
            R"("response_ms":[39.0,40.0,43.0],"warm_ms":[1.0,2.0,4.0],"private_kib":2560,"stored_bytes":4096,)"
            R"("phase_samples_ms":{"vmm":[1.0,2.0,3.0],"ready":[19.0,20.0,23.0],"response":[39.0,40.0,43.0]}}],)"
            R"("floor_ms":[1.5],"prepared_floor_ms":[0.5],)"
            R"("floors":[{"memory_mib":128,"vcpus":1,"floor_ms":[1.5],"prepared_floor_ms":[0.5]},)"
            R"({"memory_mib":3072,"vcpus":1,"floor_ms":[1.75],"prepared_floor_ms":[0.75]}],)"
            R"("boot":{"runtime":"python3","memory_mib":128,"ready_ms":[400.0],"response_ms":[500.0]}})");
}

TEST(RestoreReport, TableHasARowForEachSample) {
  const auto lines = LinesOf(Table(MadeUp(), TableStyle::kTerminal));
  ASSERT_EQ(lines.size(), 6);
  EXPECT_THAT(lines[0], HasSubstr("ready (MAD)"));
  EXPECT_THAT(lines[1], ::testing::MatchesRegex("copy +memory +base +128 +1 +20\\.00 \\(1\\.00\\) +19\\.00 +40\\.00 "
                                                "\\(1\\.00\\) +39\\.00 +2\\.00 +2\\.5 +20\\.0x"));
}

TEST(RestoreReport, TableIsAligned) {
  const auto lines = LinesOf(Table(MadeUp(), TableStyle::kTerminal));
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines.front().size()) << line;
}

TEST(RestoreReport, MarkdownHasARuleBelowTheHeader) {
  const auto lines = LinesOf(Table(MadeUp(), TableStyle::kMarkdown));
  ASSERT_EQ(lines.size(), 7);
  EXPECT_THAT(lines[1], ::testing::StartsWith("|---|---|---|---:|"));
  EXPECT_EQ(lines[2],
            "| copy | memory | base | 128 | 1 | 20.00 (1.00) | 19.00 | 40.00 (1.00) | 39.00 | 2.00 | 2.5 | 20.0x |");
  for (const auto& line : lines) {
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), std::count(lines[0].begin(), lines[0].end(), '|')) << line;
  }
}

TEST(RestoreReport, ConclusionsNameFloorsAndRatios) {
  const auto text = Conclusions(MadeUp());
  EXPECT_THAT(text, HasSubstr("floor, 128 MiB, 1 vCPU: 1.50 (0.00) ms, with the VM prepared 0.50 (0.00) ms\n"));
  EXPECT_THAT(text, HasSubstr("floor, 3072 MiB, 1 vCPU: 1.75 "));
  EXPECT_THAT(text, HasSubstr("base layer: boot / prefetch, ready: 400.00 / 4.00 ms = 100.00x\n"));
  EXPECT_THAT(text, HasSubstr("base layer: copy / prefetch, ready: 20.00 / 4.00 ms = 5.00x\n"));
  EXPECT_THAT(text, HasSubstr("base layer: disk-prefetch, cold / prefetch, ready: 10.00 / 4.00 ms = 2.50x\n"));
  EXPECT_THAT(text, HasSubstr("base layer: 3072 / 128 MiB, ready: 5.00 / 4.00 ms = 1.25x\n"));
  EXPECT_THAT(text, HasSubstr("function layer: boot / prefetch, ready: 400.00 / 8.00 ms = 50.00x\n"));
}

TEST(RestoreReport, ResponseIsHeldAgainstWarmRequestsAndTheFloor) {
  RestoreReport report = MadeUp();
  EXPECT_THAT(Conclusions(report),
              HasSubstr("function layer: prefetch, response 16.00 ms, above 2.5 x warm + floor = 6.50 ms\n"));
  report.samples[2].runs = RestoreRuns(4, 6.5);
  EXPECT_THAT(Conclusions(report), HasSubstr("response 6.50 ms, within 2.5 x warm + floor = 6.50 ms\n"));
}

TEST(RestoreReport, WhatWasNotMeasuredIsNotCompared) {
  RestoreReport report = MadeUp();
  report.samples.resize(1);
  EXPECT_THAT(Conclusions(report), Not(HasSubstr("layer")));
}

TEST(RestoreReport, SizesWithOtherVcpusAreNotCompared) {
  RestoreReport report = MadeUp();
  report.floors[1].size.vcpus = report.samples[4].size.vcpus = 2;
  EXPECT_THAT(Conclusions(report), Not(HasSubstr("3072 / 128")));
}

TEST(ParseFloor, TakesWhatTheProgramPrints) {
  auto floor = ParseFloor("{\"memory_mib\":256,\"vcpus\":2,\"floor_ms\":[1.5,2],\"prepared_floor_ms\":[0.5,1]}\n");
  ASSERT_TRUE(floor) << floor.error().Message();
  EXPECT_EQ(floor->size, (faas::VmSize{256, 2}));
  EXPECT_THAT(floor->floor_ms, ::testing::ElementsAre(1.5, 2));
  EXPECT_THAT(floor->prepared_floor_ms, ::testing::ElementsAre(0.5, 1));
}

TEST(ParseFloor, AnythingElseIsCorrupt) {
  for (const auto* text : {"", "[]", "snapfaas-floor: KVM_RUN: Invalid argument", R"({"memory_mib":256,"vcpus":2})",
                           R"({"memory_mib":256,"vcpus":2,"floor_ms":[],"prepared_floor_ms":[1]})",
                           R"({"memory_mib":256,"vcpus":2,"floor_ms":["1"],"prepared_floor_ms":[1]})",
                           R"({"memory_mib":-1,"vcpus":2,"floor_ms":[1],"prepared_floor_ms":[1]})"}) {
    auto floor = ParseFloor(text);
    ASSERT_FALSE(floor) << text;
    EXPECT_EQ(floor.error().code, ErrorCode::kCorrupt) << text;
  }
}

TEST(RestoreReport, RuntimesHaveARowEach) {
  RestoreReport python = MadeUp();
  python.dirty_mib = 31.25;
  RestoreReport ruby = MadeUp();
  ruby.runtime = "ruby";
  ruby.samples.resize(1);
  const auto lines = LinesOf(RuntimesTable({python, ruby}, TableStyle::kMarkdown));
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_THAT(lines[0], HasSubstr("| runtime | MiB | boot |"));
  EXPECT_EQ(lines[1], "|---|---:|---:|---:|---:|---:|---:|---:|");
  EXPECT_EQ(lines[2], "| python3 | 128 | 400 | 4.00 (1.00) | 8.00 (1.00) | 16.00 (1.00) | 31.2 | 100x |");
  EXPECT_EQ(lines[3], "| ruby | 128 | 400 | - | - | - | 0.0 | - |");
}

TEST(RestoreReport, RuntimesJsonHasAllSamples) {
  RestoreReport report = MadeUp();
  report.dirty_mib = 31.5;
  const auto json = RuntimesJson({report});
  EXPECT_EQ(json["runtimes"][0]["runtime"], "python3");
  EXPECT_EQ(json["runtimes"][0]["dirty_mib"], 31.5);
  EXPECT_EQ(json["runtimes"][0]["samples"], ToJson(report)["samples"]);
  report.floors.clear();
  EXPECT_FALSE(RuntimesJson({report})["runtimes"][0].contains("floor_ms"));
}

}  // namespace
}  // namespace snapfaas::cli
