#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cli/load_plan.h"

namespace snapfaas::cli {
namespace {

constexpr char kWhole[] = R"(seed: 7
duration: 30
functions:
  - name: lorem
    app: ../../examples/lorem-python
    runtime: python3
    memory: 256
    timeout: 10
    users: 4
    mu: 500.5
    start: 1
    end: 20
    event: {"n": 3, "text": "4", "list": [true, null, 1.5, plain]}
  - name: other
    mu: 1000
)";

Workload Parsed(const std::string& text) {
  auto workload = ParseWorkload(text, "w/load.yaml");
  EXPECT_TRUE(workload) << workload.error().Message();
  return workload ? *workload : Workload();
}

std::string FaultOf(const std::string& text) {
  const auto workload = ParseWorkload(text, "w/load.yaml");
  EXPECT_FALSE(workload);
  return workload ? std::string() : workload.error().Message();
}

// Of one function with these lines, of which the first is the file's third.
std::string FunctionFault(const std::string& lines) { return FaultOf("duration: 30\nfunctions:\n  - " + lines + "\n"); }

TEST(WorkloadFileTest, EveryKeyIsRead) {
  const Workload workload = Parsed(kWhole);
  EXPECT_EQ(workload.seed, 7U);
  EXPECT_EQ(workload.duration_seconds, 30);
  ASSERT_EQ(workload.functions.size(), 2U);
  const LoadFunction& lorem = workload.functions[0];
  EXPECT_EQ(lorem.name, "lorem");
  EXPECT_EQ(lorem.app, "../examples/lorem-python");
  EXPECT_EQ(lorem.runtime, "python3");
  EXPECT_EQ(lorem.memory_mib, 256U);
  EXPECT_EQ(lorem.timeout_seconds, 10U);
  EXPECT_EQ(lorem.users, 4U);
  EXPECT_EQ(lorem.mu_ms, 500.5);
  EXPECT_EQ(lorem.start_seconds, 1);
  EXPECT_EQ(lorem.end_seconds, 20);
  EXPECT_EQ(lorem.event, R"({"n":3,"text":"4","list":[true,null,1.5,"plain"]})");
}

TEST(WorkloadFileTest, WhatIsNotThereHasADefault) {
  const LoadFunction other = Parsed(kWhole).functions.at(1);
  EXPECT_TRUE(other.app.empty());
  EXPECT_EQ(other.users, 1U);
  EXPECT_EQ(other.start_seconds, 0);
  EXPECT_EQ(other.end_seconds, 30);
  EXPECT_EQ(other.event, "{}");
}

TEST(WorkloadFileTest, WithoutADurationTheLastEndIsIt) {
  const Workload workload = Parsed("functions: [{name: a, mu: 1, end: 5}, {name: b, mu: 1, end: 9}]");
  EXPECT_EQ(workload.duration_seconds, 9);
  EXPECT_EQ(workload.seed, 1U);
}

TEST(WorkloadFileTest, AFaultNamesItsLine) {
  EXPECT_THAT(FunctionFault("name: f\n    mu: 5\n    colour: red"),
              testing::StartsWith("w/load.yaml:5: \"colour\" is no key of a function"));
  EXPECT_THAT(FunctionFault("name: f\n    mu: -1"), testing::StartsWith("w/load.yaml:4: mu must be a number from"));
}

TEST(WorkloadFileTest, FaultsSayHowToMendThem) {
  const auto has = [](const std::string& fault, const std::string& part) {
    EXPECT_THAT(fault, testing::HasSubstr(part));
  };
  has(FaultOf("a: [1"), "this is no YAML");
  has(FaultOf("- 1"), "a workload must be a map of seed, duration, functions");
  has(FaultOf("duration: 1"), "has no functions");
  has(FaultOf("functions: []"), "must be a list");
  has(FaultOf("seed: 1\nseed: 2\nfunctions: [{name: a, mu: 1, end: 5}]"), "2: \"seed\" is there twice");
  has(FaultOf("functions: [{name: a, mu: 1}]"), "add one, or give the workload a duration");
  has(FunctionFault("mu: 5"), "has no name");
  has(FunctionFault("name: f"), "has no mu");
  has(FunctionFault("{name: f/g, mu: 5}"), "is no function's name");
  has(FunctionFault("{name: f, mu: .inf}"), "mu must be a number");
  has(FunctionFault("{name: f, mu: nan}"), "mu must be a number");
  has(FunctionFault("{name: f, mu: 5 ms}"), "not \"5 ms\"");
  has(FunctionFault("{name: f, mu: 5, users: 1.5}"), "users must be a whole number from 1");
  has(FunctionFault("{name: f, mu: 5, users: 0}"), "users must be a whole number from 1");
  has(FunctionFault("{name: f, mu: 5, end: 31}"), "end must be a number from 0 to 30");
  has(FunctionFault("{name: f, mu: 5, start: 9, end: 8}"), "raise end, or lower start");
  has(FunctionFault("{name: f, mu: 5, app: x}"), "app needs a runtime");
  has(FunctionFault("{name: f, mu: 5, memory: 128}"), "add app, or take it out");
  has(FunctionFault("{name: f, mu: 5}\n  - {name: f, mu: 6}"), "4: \"f\" is there twice");
}

TEST(WorkloadFileTest, AnEventWithoutEndIsRefused) {
  const std::string fault = FunctionFault("name: f\n    mu: 5\n    event: &a {deeper: *a}");
  EXPECT_THAT(fault, testing::StartsWith("w/load.yaml:5: the event is too deep"));
}

TEST(WorkloadFileTest, AMissingFileIsNamed) {
  const auto workload = ReadWorkload("/no/such/load.yaml");
  ASSERT_FALSE(workload);
  EXPECT_EQ(workload.error().code, ErrorCode::kNotFound);
  EXPECT_NE(workload.error().Message().find("/no/such/load.yaml"), std::string::npos);
}

}  // namespace
}  // namespace snapfaas::cli
