// `snapfaas simulate` as it is typed: options, files that are wrong, its report, and how it compares with a real run.
#include "cli/simulate_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/scratch_folder_for_tests.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Without a millisecond of chance in it.
constexpr std::string_view kCosts =
    R"({"cpus": 4, "overhead": 2, "run": 10, "restored": {"restore": 20, "load": 8, "run": 10},
        "cold": {"restore": 20, "load": 80, "run": 10}, "boot": {"boot": 900, "load": 80, "run": 10}})";
constexpr std::string_view kWorkload =
    "seed: 3\nduration: 20\nfunctions:\n  - {name: one, users: 2, mu: 500}\n  - {name: two, mu: 1000}\n";

struct Ran {
  int exit_code = 0;
  std::string out;
  std::string err;
};

class SimulateCommandTest : public testing::Test {
 protected:
  SimulateCommandTest() {
    Write("costs.json", kCosts);
    Write("load.yaml", kWorkload);
  }

  std::string Path(const std::string& name) const { return folder_.path() / name; }

  std::string Write(const std::string& name, std::string_view text) const {
    EXPECT_TRUE(images::WriteWholeFile(Path(name), text));
    return Path(name);
  }

  Json ReadReport(const std::string& name) const {
    const auto text = images::ReadWholeFile(Path(name));
    EXPECT_TRUE(text) << name;
    return text ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
  }

  // snapfaas simulate WORDS...
  static Ran Simulate(std::vector<std::string> words) {
    Ran ran;
    CLI::App app("", "snapfaas");
    AddSimulateCommand(app, ran.exit_code);
    words.insert(words.begin(), "simulate");
    std::reverse(words.begin(), words.end());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    try {
      app.parse(words);
    } catch (const CLI::ParseError& error) {
      // As the program itself does it.
      ran.exit_code = app.exit(error) == 0 ? 0 : 2;
    }
    ran.out = ::testing::internal::GetCapturedStdout();
    ran.err = ::testing::internal::GetCapturedStderr();
    return ran;
  }

  // The same with the workload, the costs and memory for all.
  Ran SimulateLoad(const std::vector<std::string>& words) const {
    std::vector<std::string> all = {Path("load.yaml"), "--costs", Path("costs.json"), "--budget", "16384"};
    all.insert(all.end(), words.begin(), words.end());
    return Simulate(std::move(all));
  }

  // The first run of the report of such a simulation.
  Json RunOf(const std::vector<std::string>& words) const {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--json", Path("run.json")});
    const Ran ran = SimulateLoad(all);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ReadReport("run.json")["runs"][0];
  }

  const ScratchFolder folder_;
};

TEST_F(SimulateCommandTest, SaysWhatBecameOfTheRequests) {
  const Ran ran = SimulateLoad({});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_THAT(ran.out, AllOf(HasSubstr("simulated, snapshots on: "), HasSubstr("(100.00 %)"), HasSubstr("CPUs     4")));
}

TEST_F(SimulateCommandTest, ReportHasWhatWasSimulatedAndItsOutcome) {
  ASSERT_EQ(SimulateLoad({"--snapshots", "both", "--json", Path("both.json")}).exit_code, 0);
  const Json report = ReadReport("both.json");
  EXPECT_EQ(report["benchmark"], "simulate");
  EXPECT_EQ(report["workload"], "load.yaml");
  EXPECT_EQ(report["seed"], 3);
  EXPECT_EQ(report["duration_seconds"], 20);
  EXPECT_EQ(report["functions"], 2);
  EXPECT_EQ(report["cpus"], 4);
  EXPECT_EQ(report["costs"], Json::array({"costs.json"}));
  ASSERT_EQ(report["runs"].size(), 2u);
  const Json& off = report["runs"][0];
  const Json& on = report["runs"][1];
  EXPECT_EQ(off["name"], "snapshots off");
  EXPECT_EQ(on["name"], "snapshots on");
  for (const Json& run : report["runs"]) {
    EXPECT_EQ(run["outcomes"]["requests"], on["outcomes"]["requests"]);
    EXPECT_EQ(run["success_rate"], 1);
    EXPECT_EQ(run["memory_budget_mib"], 16384);
    EXPECT_EQ(run["functions"].size(), 2u);
    EXPECT_GT(run["cpu_share"], 0);
    EXPECT_TRUE(run.contains("simulated_in_seconds"));
  }
  EXPECT_EQ(on["latency_ms"]["warm"]["p50"], 12);
  EXPECT_EQ(on["scheduling_ms"]["max"], 28);
  EXPECT_EQ(off["starts"]["restored"], 0);
  EXPECT_GT(off["scheduling_ms"]["max"], 900);
  EXPECT_GT(report["comparison"]["off_to_on"]["cold_start_p50"], 10);
  EXPECT_FALSE(report.contains("check"));
}

TEST_F(SimulateCommandTest, OneSeedHasOneOutcome) {
  const auto without_clock = [this](const std::vector<std::string>& words) {
    Json run = RunOf(words);
    run.erase("simulated_in_seconds");
    return run;
  };
  EXPECT_EQ(without_clock({}), without_clock({"--seed", "3"}));
  EXPECT_NE(without_clock({}), without_clock({"--seed", "4"}));
}

TEST_F(SimulateCommandTest, SnapshotsDecideWhatALaunchIs) {
  const Json base = RunOf({"--snapshots", "base"});
  EXPECT_EQ(base["name"], "base snapshots");
  EXPECT_EQ(base["scheduling_ms"]["max"], 100);
  EXPECT_GT(base["starts"]["cold"], 0);
  EXPECT_EQ(RunOf({"--snapshots", "on"})["scheduling_ms"]["max"], 28);
}

TEST_F(SimulateCommandTest, CopiesMultiplyTheLoad) {
  const Json one = RunOf({});
  const Json ten = RunOf({"--scale", "10"});
  EXPECT_EQ(ten["functions"].size(), 20u);
  EXPECT_GT(ten["outcomes"]["requests"], 7 * one["outcomes"]["requests"].get<int>());
}

TEST_F(SimulateCommandTest, SettingsOfTheNodeCountUnlessAnOptionSaysOtherwise) {
  const std::string config =
      Write("node.toml", "[memory]\nbudget_mib = 130\noverhead_mib = 16\n\n[microvms]\nidle_seconds = 1\n");
  const auto simulate = [&](std::vector<std::string> words) {
    const std::vector<std::string> first = {Path("load.yaml"), "--costs",       Path("costs.json"), "--config", config,
                                            "--json",          Path("run.json")};
    words.insert(words.begin(), first.begin(), first.end());
    EXPECT_EQ(Simulate(words).exit_code, 0);
    return ReadReport("run.json")["runs"][0];
  };
  const Json small = simulate({});
  EXPECT_EQ(small["memory_budget_mib"], 130);
  EXPECT_THAT(small["problems"].dump(), HasSubstr("the budget is too small for one microVM"));
  const Json large = simulate({"--budget", "2048"});
  EXPECT_EQ(large["memory_budget_mib"], 2048);
  EXPECT_GT(large["counts"]["expirations"], 0);
  EXPECT_EQ(simulate({"--budget", "2048", "--idle-ttl", "600"})["counts"]["expirations"], 0);
  EXPECT_EQ(simulate({"--budget", "2048", "--shells", "0"})["counts"]["shells_started"], 0);
}

TEST_F(SimulateCommandTest, WhatIsMissingIsNamed) {
  const std::string costs = Path("costs.json");
  const std::string without_cpus = Write("bare.json", R"({"run": 1, "restored": {"restore": 1}})");
  const struct {
    std::vector<std::string> words;
    const char* why;
  } cases[] = {
      {{Path("load.yaml"), "--costs", costs}, "Add --budget"},
      {{Path("load.yaml"), "--costs", without_cpus, "--budget", "2048"}, "Add --cpus"},
      {{"--costs", costs, "--budget", "2048"}, "Name one workload, or one trace"},
      {{Path("load.yaml"), "--azure-2021", Path("load.yaml"), "--costs", costs, "--budget", "2048"},
       "Name one workload, or one trace"},
      {{Path("load.yaml"), "--budget", "2048"}, "--costs is required"},
      {{Path("load.yaml"), "--costs", costs, "--budget", "0"}, "--budget"},
      {{Path("load.yaml"), "--costs", costs, "--snapshots", "maybe"}, "--snapshots"},
      {{Path("load.yaml"), "--costs", costs, "--tolerance", "10"}, "--check"},
      {{Path("load.yaml"), "--costs", costs, "--hold-out", "10"}, "--check"},
      {{Path("load.yaml"), "--costs", costs, "--scale", "0"}, "--scale"},
  };
  for (const auto& [words, why] : cases) {
    const Ran ran = Simulate(words);
    EXPECT_EQ(ran.exit_code, 2) << why;
    EXPECT_THAT(ran.err, HasSubstr(why));
    EXPECT_THAT(ran.out, Not(HasSubstr("simulated, ")));
  }
}

TEST_F(SimulateCommandTest, EachHalfIsCheckedWithCostsOfTheOther) {
  const auto report = [this](double seconds) {
    std::string rows;
    for (int i = 0; i < 40; ++i) {
      rows += fmt::format(R"({}["load", "one", 200, false, {}, {}, "{}", 0, {}, 0, 5])", i == 0 ? "" : ",",
                          i * seconds * 1e3 / 40, i % 4 == 0 ? 17 : 7, i % 4 == 0 ? "restored" : "warm",
                          i % 4 == 0 ? 10 : 0);
    }
    return Write("real.json", fmt::format(R"({{"seed": 3, "runs": [{{"name": "load", "memory_budget_mib": 16384,
        "success_rate": 1, "latency_ms": {{"all": {{"p50": 7}}}}}}],
        "sample_columns": ["run", "function", "status", "function_error", "due_ms", "latency_ms", "start", "queued_ms",
                           "restore_ms", "load_ms", "run_ms"], "samples": [{}]}})",
                                          rows));
  };
  const auto check = [&](double seconds, const std::vector<std::string>& more) {
    const std::string real = report(seconds);
    std::vector<std::string> words = {Path("load.yaml"), "--costs", real,          "--check", real,
                                      "--cpus",          "8",       "--tolerance", "5"};
    words.insert(words.end(), more.begin(), more.end());
    return Simulate(words);
  };
  const Ran halves = check(20, {"--hold-out", "2"});
  EXPECT_EQ(halves.exit_code, 0) << halves.err;
  EXPECT_THAT(halves.out, HasSubstr("latency p50, ms"));
  // All of it is in the first part: the other half says nothing.
  EXPECT_EQ(check(1.9, {}).exit_code, 0);
  const Ran nothing = check(1.9, {"--hold-out", "2"});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("only 0 warm requests met no other"));
}

TEST_F(SimulateCommandTest, FilesThatAreWrongAreNamed) {
  const struct {
    std::string option;
    std::string text;
    const char* why;
  } cases[] = {
      {"--costs", "{", "wrong: this is no JSON"},
      {"--costs", R"({"restored": {"restore": 1}})", "must have run"},
      {"--missing-costs", "{}", "wrong: these are no results of snapfaas bench load --json"},
      {"--bare-costs", "{}", "wrong: these are no results of snapfaas bench load --json"},
      {"--boot-costs", "[]", "wrong: these are no results of snapfaas bench breakdown --json"},
      {"--check", R"({"runs": []})", "wrong: these are no results of snapfaas bench load --json"},
      {"--config", "memory = 1\n", "wrong"},
  };
  for (const auto& [option, text, why] : cases) {
    const std::string path = Write("wrong", text);
    std::vector<std::string> words = {Path("load.yaml"), option, path, "--budget", "2048"};
    if (option != "--costs") words.insert(words.end(), {"--costs", Path("costs.json")});
    const Ran ran = Simulate(words);
    EXPECT_EQ(ran.exit_code, 2) << option << " " << text;
    EXPECT_THAT(ran.err, HasSubstr(why)) << option;
  }
  const Ran bad_load = Simulate({Write("wrong", "seed: [\n"), "--costs", Path("costs.json"), "--budget", "2048"});
  EXPECT_EQ(bad_load.exit_code, 2);
  EXPECT_THAT(bad_load.err, HasSubstr("wrong"));
}

TEST_F(SimulateCommandTest, FilesThatAreNotThereAreNamed) {
  for (const char* option : {"--costs", "--missing-costs", "--bare-costs", "--boot-costs", "--check", "--config"}) {
    std::vector<std::string> words = {Path("load.yaml"), option, Path("nowhere"), "--budget", "2048"};
    if (option != std::string_view("--costs")) words.insert(words.end(), {"--costs", Path("costs.json")});
    const Ran ran = Simulate(words);
    EXPECT_NE(ran.exit_code, 0) << option;
    EXPECT_THAT(ran.err, HasSubstr(Path("nowhere"))) << option;
  }
}

TEST_F(SimulateCommandTest, CostsOfAKindThatIsNotThereAreAskedFor) {
  const std::string costs = Write("few.json", R"({"cpus": 1, "run": 1, "restored": {"restore": 1}})");
  const Ran ran = Simulate({Path("load.yaml"), "--costs", costs, "--budget", "2048", "--snapshots", "off"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("is \"boot\""));
}

TEST_F(SimulateCommandTest, BootsTakeWhatABreakdownMeasured) {
  const std::string boots =
      Write("boots.json", R"({"samples": {"boot_ms": {"ready": [5000], "load": [100], "request": [7]}}})");
  EXPECT_EQ(RunOf({"--snapshots", "off", "--boot-costs", boots, "--cpus", "1000"})["scheduling_ms"]["max"], 5100);
}

TEST_F(SimulateCommandTest, TracesAreSimulated) {
  const std::string trace =
      Write("trace.csv", "app,func,end_timestamp,duration\na,f,10.5,0.5\na,f,90,0.25\na,g,20,1\n");
  const auto requests = [&](std::vector<std::string> words) {
    const std::vector<std::string> first = {"--azure-2021", trace,   "--costs", Path("costs.json"),
                                            "--budget",     "65536", "--json",  Path("trace.json")};
    words.insert(words.begin(), first.begin(), first.end());
    EXPECT_EQ(Simulate(words).exit_code, 0);
    return ReadReport("trace.json")["runs"][0]["outcomes"]["requests"];
  };
  EXPECT_EQ(requests({}), 3);
  EXPECT_EQ(requests({"--minutes", "1"}), 2);
  EXPECT_EQ(requests({"--scale", "4"}), 12);
  const Ran wrong = Simulate({"--azure-2021", Write("trace.csv", "app,func,end_timestamp,duration\na,f,x,1\n"),
                              "--costs", Path("costs.json"), "--budget", "65536"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("trace.csv:2"));
}

class SimulateCheckTest : public SimulateCommandTest {
 protected:
  // A run of a real node, with this median latency and success rate, and what else a report has.
  std::string RealRunWith(double p50, double success_rate, int seed = 3) const {
    const Json report = {{"seed", seed},
                         {"runs",
                          {{{"name", "snapshots on"},
                            {"memory_budget_mib", 2048},
                            {"success_rate", success_rate},
                            {"latency_ms", {{"all", {{"p50", p50}, {"p95", 1}}}}}}}}};
    return Write("real.json", report.dump());
  }
};

TEST_F(SimulateCheckTest, BothAreSetBesideEachOther) {
  const Ran ran = SimulateLoad({"--check", RealRunWith(12.5, 1), "--json", Path("check.json")});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("real node"), HasSubstr("latency p50, ms"), HasSubstr("-4.0 %")));
  const Json check = ReadReport("check.json")["check"];
  EXPECT_EQ(check[0]["what"], "success rate, %");
  EXPECT_EQ(check[0]["difference_percent"], 0);
  EXPECT_EQ(check[1]["real"], 12.5);
  EXPECT_EQ(check[1]["simulated"], 12);
  EXPECT_EQ(check[1]["difference_percent"], -4);
  EXPECT_EQ(check[1]["checked"], true);
  EXPECT_EQ(check[2]["checked"], false);
}

TEST_F(SimulateCheckTest, ADifferenceAboveTheToleranceFails) {
  const auto check = [this](double p50, double success_rate, const char* tolerance) {
    return SimulateLoad({"--check", RealRunWith(p50, success_rate), "--tolerance", tolerance});
  };
  EXPECT_EQ(check(12.5, 1, "5").exit_code, 0);
  EXPECT_EQ(check(12.5, 1, "3").exit_code, 1);
  EXPECT_EQ(check(12, 0.8, "10").exit_code, 1);
  EXPECT_EQ(check(0, 1, "10").exit_code, 1);
  const Ran far = check(24, 1, "10");
  EXPECT_EQ(far.exit_code, 1);
  EXPECT_THAT(far.err, HasSubstr("differs by more than 10 % from the real one"));
  EXPECT_THAT(far.out, HasSubstr("-50.0 %"));  // shown all the same
}

TEST_F(SimulateCheckTest, ARunOfAnotherSeedIsNoMeasure) {
  const Ran ran = SimulateLoad({"--check", RealRunWith(12, 1, 8)});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("add --seed 8"));
  EXPECT_EQ(SimulateLoad({"--check", RealRunWith(12, 1, 8), "--seed", "8"}).exit_code, 0);
}

TEST_F(SimulateCheckTest, TheRealNodesMemoryIsTakenWhereNoneIsSaid) {
  ASSERT_EQ(Simulate({Path("load.yaml"), "--costs", Path("costs.json"), "--check", RealRunWith(12, 1), "--json",
                      Path("check.json")})
                .exit_code,
            0);
  EXPECT_EQ(ReadReport("check.json")["runs"][0]["memory_budget_mib"], 2048);
}

}  // namespace
}  // namespace snapfaas::cli
