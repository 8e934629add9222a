#include "sim/azure_trace.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"

namespace snapfaas::sim {
namespace {

using testing::HasSubstr;

constexpr char kDurations[] =
    "HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,percentile_Average_0,percentile_Average_1,"
    "percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,percentile_Average_100\n"
    "o1,a1,f1,100,9,10,1000,10,20,50,100,200,900,1000\n"
    "o1,a2,f2,5,9,5,5,5,5,5,5,5,5,5\n";
constexpr char kInvocations[] =
    "HashOwner,HashApp,HashFunction,Trigger,1,2,3\n"
    "o1,a1,f1,http,2,0,5\r\n"
    "o1,a2,f2,timer,1,1,1\n"
    "o1,a2,never,timer,0,0,0\n"
    "o1,a3,unknown,queue,4,4,4\n";
constexpr char kMemory[] = "HashOwner,HashApp,SampleCount,AverageAllocatedMb\no1,a1,7,129.5\no1,a2,7,90000\n";

constexpr char k2021[] =
    "app,func,end_timestamp,duration\n"
    "a,f,100.5,0.5\n"
    "a,g,101,0.001\n"
    "a,f,90,10\n"
    "a,f,300,1\n";

Result<Trace> Parse2019(const TraceOptions& options, std::string_view invocations = kInvocations,
                        std::string_view durations = kDurations) {
  return ParseAzure2019({durations, "durations.csv"}, {invocations, "invocations.csv"}, {kMemory, "memory.csv"},
                        options);
}

std::string MessageOf(const Result<Trace>& trace) {
  EXPECT_FALSE(trace);
  if (trace) return {};
  EXPECT_EQ(trace.error().code, ErrorCode::kInvalidArgument);
  return trace.error().Message();
}

// By function and minute.
std::map<std::pair<uint32_t, int64_t>, int> CountsOf(const Trace& trace) {
  std::map<std::pair<uint32_t, int64_t>, int> counts;
  for (const Request& request : trace.requests) ++counts[{request.function, request.at_ns / (60 * kSecond)}];
  return counts;
}

bool IsInOrder(const Trace& trace) {
  return std::is_sorted(trace.requests.begin(), trace.requests.end(),
                        [](const Request& a, const Request& b) { return a.at_ns < b.at_ns; });
}

TEST(AzureTraceTest, CountsByTheMinuteBecomeRequestsInThatMinute) {
  const auto trace = Parse2019({});
  ASSERT_TRUE(trace) << trace.error().Message();
  ASSERT_EQ(trace->functions.size(), 2u);
  EXPECT_EQ(trace->functions[0].name, "f1");
  EXPECT_EQ(trace->functions[0].memory_mib, 256u);
  EXPECT_EQ(trace->functions[1].memory_mib, 3072u);  // as large as there are
  EXPECT_EQ(trace->functions_left_out, 1u);
  EXPECT_EQ(trace->seconds, 180);
  const std::map<std::pair<uint32_t, int64_t>, int> expected = {
      {{0, 0}, 2}, {{0, 2}, 5}, {{1, 0}, 1}, {{1, 1}, 1}, {{1, 2}, 1}};
  EXPECT_EQ(CountsOf(*trace), expected);
  EXPECT_TRUE(IsInOrder(*trace));
  for (const Request& request : trace->requests) {
    EXPECT_GE(*request.run_ms, request.function == 0 ? 10 : 5);
    EXPECT_LE(*request.run_ms, request.function == 0 ? 1000 : 5);
  }
}

TEST(AzureTraceTest, DurationsFollowThePercentiles) {
  const std::string many =
      "HashOwner,HashApp,HashFunction,Trigger,1\n"
      "o1,a1,f1,http,20000\n";
  const auto trace = Parse2019({}, many);
  ASSERT_TRUE(trace);
  std::vector<double> millis;
  for (const Request& request : trace->requests) millis.push_back(*request.run_ms);
  std::sort(millis.begin(), millis.end());
  EXPECT_NEAR(millis[5'000], 50, 3);
  EXPECT_NEAR(millis[10'000], 100, 4);
  EXPECT_NEAR(millis[15'000], 200, 8);
}

TEST(AzureTraceTest, OneSeedGivesOneTrace) {
  TraceOptions options;
  const auto once = Parse2019(options);
  const auto again = Parse2019(options);
  options.seed = 2;
  const auto other = Parse2019(options);
  ASSERT_TRUE(once && again && other);
  const auto times = [](const Trace& trace) {
    std::vector<int64_t> at;
    for (const Request& request : trace.requests) at.push_back(request.at_ns);
    return at;
  };
  EXPECT_EQ(times(*once), times(*again));
  EXPECT_NE(times(*once), times(*other));
}

TEST(AzureTraceTest, MinutesFunctionsAndCopiesAreChosen) {
  TraceOptions options;
  options.minutes = 1;
  options.functions = 1;
  options.scale = 3;
  const auto trace = Parse2019(options);
  ASSERT_TRUE(trace);
  ASSERT_EQ(trace->functions.size(), 3u);
  EXPECT_EQ(trace->functions[1].name, trace->functions[0].name + "-2");
  EXPECT_EQ(trace->seconds, 60);
  EXPECT_EQ(trace->requests.size(), trace->functions[0].name == "f1" ? 6u : 3u);
}

TEST(AzureTraceTest, EveryInvocationOf2021IsARequest) {
  const auto trace = ParseAzure2021({k2021, "2021.csv"}, {});
  ASSERT_TRUE(trace) << trace.error().Message();
  ASSERT_EQ(trace->functions.size(), 2u);
  ASSERT_EQ(trace->requests.size(), 4u);
  EXPECT_EQ(trace->requests[0].at_ns, 0);
  EXPECT_EQ(trace->requests[0].run_ms, 10'000);
  EXPECT_EQ(trace->requests[1].at_ns, 20 * kSecond);
  EXPECT_EQ(trace->requests[2].function, 1u);
  EXPECT_EQ(trace->seconds, 219);
  TraceOptions minute;
  minute.minutes = 1;
  minute.scale = 2;
  const auto part = ParseAzure2021({k2021, "2021.csv"}, minute);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->functions.size(), 4u);
  EXPECT_EQ(part->requests.size(), 6u);
  EXPECT_TRUE(IsInOrder(*part));
}

TEST(AzureTraceTest, BadLinesAreNamedByFileAndLine) {
  EXPECT_THAT(MessageOf(ParseAzure2021({"", "t.csv"}, {})), HasSubstr("t.csv: the file is empty"));
  EXPECT_THAT(MessageOf(ParseAzure2021({"app,func,end\n", "t.csv"}, {})), HasSubstr("t.csv:1: there is no column"));
  EXPECT_THAT(MessageOf(ParseAzure2021({std::string(k2021) + "\na,f,9\n", "t.csv"}, {})),
              HasSubstr("t.csv:7: 3 fields, but there are 4 columns"));
  EXPECT_THAT(MessageOf(ParseAzure2021({std::string(k2021) + "a,f,nan,1\n", "t.csv"}, {})),
              HasSubstr("t.csv:6: end_timestamp must be a number that is not negative, not \"nan\""));
  EXPECT_THAT(MessageOf(Parse2019({}, "HashOwner,HashApp,HashFunction,Trigger,1\no,a,f,http,-3\n")),
              HasSubstr("invocations.csv:2: 1 must be a number"));
  std::string falling(kDurations);
  falling.replace(falling.rfind("5,5\n"), 4, "5,4\n");
  EXPECT_THAT(MessageOf(Parse2019({}, kInvocations, falling)),
              HasSubstr("durations.csv:3: the percentiles do not increase"));
}

TEST(AzureTraceTest, TooManyRequestsAreRefused) {
  TraceOptions options;
  options.max_requests = 5;
  EXPECT_THAT(MessageOf(Parse2019(options)), HasSubstr("more than the 5 requests"));
  options.max_requests = 3;
  EXPECT_THAT(MessageOf(ParseAzure2021({k2021, "t.csv"}, options)), HasSubstr("more than the 3 requests"));
}

}  // namespace
}  // namespace snapfaas::sim
