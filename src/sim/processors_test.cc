#include "sim/processors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "faas/manual_timekeeper.h"

namespace snapfaas::sim {
namespace {

constexpr double kMs = kMilli;

class ProcessorsTest : public ::testing::Test {
 protected:
  // Milliseconds from the test's start, to a microsecond.
  double Now() const { return std::round(static_cast<double>(time_.NowNanos() - start_ns_) / 1e3) / 1e3; }
  std::function<void()> Note(double& at) {
    return [this, &at] { at = Now(); };
  }

  faas::ManualTimekeeper time_;
  const int64_t start_ns_ = time_.NowNanos();
};

TEST_F(ProcessorsTest, OneActivityTakesItsWorkAndThenItsWait) {
  Processors processors(time_, 1, 0);
  double done = 0;
  processors.Start({10 * kMs, 5 * kMs}, Ahead::kBeginning, Note(done));
  time_.RunAll();
  EXPECT_EQ(done, 15);
  EXPECT_NEAR(processors.worked_ns(), 10 * kMs, 10);
}

TEST_F(ProcessorsTest, TwoOnOneCpuGoHalfAsFastEach) {
  Processors processors(time_, 1, 0);
  double first = 0;
  double second = 0;
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(first));
  processors.Start({30 * kMs, 0}, Ahead::kBeginning, Note(second));
  time_.RunAll();
  EXPECT_EQ(first, 20);   // 10 of 20 ms were the other's
  EXPECT_EQ(second, 40);  // then it is alone with its last 20
}

TEST_F(ProcessorsTest, OneThatComesLaterSharesWhatIsLeft) {
  Processors processors(time_, 1, 0);
  double first = 0;
  double second = 0;
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(first));
  time_.RunFor(6 * kMilli);
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(second));
  time_.RunAll();
  EXPECT_EQ(first, 14);
  EXPECT_EQ(second, 20);
}

TEST_F(ProcessorsTest, AsManyAsCpusDoNotSlowEachOther) {
  Processors processors(time_, 2, 0);
  double first = 0;
  double second = 0;
  double third = 0;
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(first));
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(second));
  time_.RunAll();
  EXPECT_EQ(first, 10);
  EXPECT_EQ(second, 10);
  for (double* done : {&first, &second, &third}) processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(*done));
  time_.RunAll();
  for (const double done : {first, second, third}) EXPECT_EQ(done, 25);  // 30 ms of work on two CPUs
}

TEST_F(ProcessorsTest, WaitTakesNoCpu) {
  Processors processors(time_, 1, 0);
  double waiting = 0;
  double working = 0;
  processors.Start({0, 20 * kMs}, Ahead::kBeginning, Note(waiting));
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(working));
  EXPECT_EQ(processors.at_work(), 1u);
  time_.RunAll();
  EXPECT_EQ(waiting, 20);
  EXPECT_EQ(working, 10);
}

TEST_F(ProcessorsTest, CancelledWorkIsNotDoneAndLeavesItsShare) {
  Processors processors(time_, 1, 0);
  bool is_done = false;
  double other = 0;
  const auto cancelled = processors.Start({10 * kMs, 0}, Ahead::kBeginning, [&] { is_done = true; });
  const auto waiting = processors.Start({0, 10 * kMs}, Ahead::kBeginning, [&] { is_done = true; });
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(other));
  time_.RunFor(4 * kMilli);
  processors.Cancel(cancelled);
  processors.Cancel(waiting);
  processors.Cancel(12345);
  time_.RunAll();
  EXPECT_FALSE(is_done);
  EXPECT_EQ(other, 12);
}

TEST_F(ProcessorsTest, CancelAfterTheEndWasPostedStillHolds) {
  Processors processors(time_, 1, 0);
  bool is_done = false;
  const auto nothing_to_do = processors.Start({0, 0}, Ahead::kBeginning, [&] { is_done = true; });
  EXPECT_FALSE(is_done);  // never from within the call
  processors.Cancel(nothing_to_do);
  time_.RunAll();
  EXPECT_FALSE(is_done);
}

TEST_F(ProcessorsTest, ManyEndInTheOrderOfTheirWork) {
  Processors processors(time_, 3, 0);
  std::vector<int> order;
  double work = 0;
  for (int i = 0; i < 50; ++i) {
    const int place = (i * 7) % 50;
    work += (place + 1) * kMs;
    processors.Start({(place + 1) * kMs, 0}, Ahead::kBeginning, [&order, place] { order.push_back(place); });
  }
  time_.RunAll();
  ASSERT_EQ(order.size(), 50u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_NEAR(processors.worked_ns(), work, 1e3);
}

TEST_F(ProcessorsTest, WhoComesGoesFirstWithHisHeadStart) {
  Processors processors(time_, 1, 5 * kMs);
  double lengthy = 0;
  double brief = 0;
  double middling = 0;
  processors.Start({100 * kMs, 0}, Ahead::kBeginning, Note(lengthy));
  time_.RunFor(20 * kMilli);
  processors.Start({4 * kMs, 0}, Ahead::kBeginning, Note(brief));
  time_.RunFor(20 * kMilli);
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(middling));
  time_.RunAll();
  EXPECT_EQ(brief, 24);
  EXPECT_EQ(middling, 40 + 5 + 2 * 5);
  EXPECT_EQ(lengthy, 100 + 4 + 10);
  EXPECT_NEAR(processors.worked_ns(), 114 * kMs, 10);
}

TEST_F(ProcessorsTest, WhatHasNothingAheadTakesWhatOthersLeave) {
  Processors processors(time_, 2, 5 * kMs);
  double behind = 0;
  double first = 0;
  double second = 0;
  processors.Start({20 * kMs, 0}, Ahead::kNothing, Note(behind));
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(first));
  time_.RunFor(5 * kMilli);
  processors.Start({10 * kMs, 0}, Ahead::kBeginning, Note(second));
  time_.RunAll();
  EXPECT_EQ(first, 10);
  EXPECT_EQ(second, 15);
  EXPECT_EQ(behind, 25);  // for five of them both CPUs were others'
  EXPECT_NEAR(processors.worked_ns(), 40 * kMs, 10);
}

TEST_F(ProcessorsTest, WhatIsRaisedWaitsForOthersNoLonger) {
  Processors processors(time_, 1, 0);
  double behind = 0;
  double working = 0;
  const auto id = processors.Start({20 * kMs, 0}, Ahead::kNothing, Note(behind));
  time_.RunFor(5 * kMilli);
  processors.Start({30 * kMs, 0}, Ahead::kBeginning, Note(working));
  time_.RunFor(10 * kMilli);
  processors.Raise(id);
  processors.Raise(id);
  time_.RunAll();
  EXPECT_EQ(behind, 15 + 2 * 15);
  EXPECT_EQ(working, 50);
  processors.Raise(id);
}

TEST_F(ProcessorsTest, BriefStepsAllGoAhead) {
  Processors processors(time_, 1, 5 * kMs);
  double working = 0;
  double brief = 0;
  processors.Start({50 * kMs, 0}, Ahead::kBeginning, Note(working));
  time_.RunFor(10 * kMilli);
  processors.Start({20 * kMs, 0}, Ahead::kAll, Note(brief));
  time_.RunAll();
  EXPECT_EQ(brief, 30);
  EXPECT_EQ(working, 70);
}

TEST_F(ProcessorsTest, RestIsHowLongNobodyHasWorked) {
  Processors processors(time_, 1, 0);
  EXPECT_GE(processors.rested_ns(), kSecond);
  processors.Start({10 * kMs, 90 * kMs}, Ahead::kBeginning, [] {});
  EXPECT_EQ(processors.rested_ns(), 0);
  time_.RunFor(30 * kMilli);
  EXPECT_NEAR(static_cast<double>(processors.rested_ns()), 20 * kMs, 10);  // who waits does not work
  const auto cancelled = processors.Start({10 * kMs, 0}, Ahead::kBeginning, [] {});
  time_.RunFor(5 * kMilli);
  processors.Cancel(cancelled);
  time_.RunFor(7 * kMilli);
  EXPECT_NEAR(static_cast<double>(processors.rested_ns()), 7 * kMs, 10);
}

TEST_F(ProcessorsTest, HeadStartsTakeOneOfSeveralCpusOnly) {
  Processors processors(time_, 2, 5 * kMs);
  double first = 0;
  double second = 0;
  processors.Start({20 * kMs, 0}, Ahead::kBeginning, Note(first));
  time_.RunFor(10 * kMilli);
  processors.Start({5 * kMs, 0}, Ahead::kBeginning, Note(second));
  time_.RunAll();
  EXPECT_EQ(first, 20);
  EXPECT_EQ(second, 15);
}

TEST_F(ProcessorsTest, HeadStartThatIsCancelledLeavesItsTime) {
  Processors processors(time_, 1, 5 * kMs);
  double first = 0;
  processors.Start({20 * kMs, 0}, Ahead::kBeginning, Note(first));
  time_.RunFor(10 * kMilli);
  const auto cancelled = processors.Start({50 * kMs, 0}, Ahead::kBeginning, [] { FAIL(); });
  time_.RunFor(2 * kMilli);
  processors.Cancel(cancelled);
  time_.RunAll();
  EXPECT_EQ(first, 22);
}

}  // namespace
}  // namespace snapfaas::sim
