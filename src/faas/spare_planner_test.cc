#include "faas/spare_planner.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace snapfaas::faas {
namespace {

Rhythm Of(std::initializer_list<int64_t> arrivals) {
  Rhythm rhythm;
  for (const int64_t at : arrivals) rhythm.Arrived(at);
  return rhythm;
}

TEST(RhythmTest, NextIsAShortestIntervalAfterTheLast) { EXPECT_EQ(Of({0, 100, 200, 295, 400}).NextNanos(), 495); }

TEST(RhythmTest, FewCallsHaveNoRhythm) { EXPECT_FALSE(Of({0, 100, 200, 300}).NextNanos()); }

TEST(RhythmTest, IrregularCallsHaveNoRhythm) { EXPECT_FALSE(Of({0, 100, 200, 300, 425}).NextNanos()); }

TEST(RhythmTest, OnlyTheLastIntervalsCount) { EXPECT_EQ(Of({0, 7, 107, 207, 307, 407}).NextNanos(), 507); }

}  // namespace
}  // namespace snapfaas::faas
