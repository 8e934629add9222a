#include "faas/memory_budget.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

namespace snapfaas::faas {
namespace {

TEST(MemoryBudgetTest, GivesNoMoreThanThereIs) {
  MemoryBudget budget(300);
  auto first = budget.TryReserve(200);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->mib(), 200u);
  EXPECT_FALSE(budget.TryReserve(101));
  EXPECT_EQ(budget.reserved(), 200u);
  EXPECT_TRUE(budget.TryReserve(100));
}

TEST(MemoryBudgetTest, AReservationsEndGivesItBackOnce) {
  MemoryBudget budget(300);
  auto first = budget.TryReserve(200);
  ASSERT_TRUE(first);
  {
    const MemoryBudget::Reservation moved(std::move(*first));
    first.reset();
    EXPECT_EQ(budget.reserved(), 200u);
  }
  EXPECT_EQ(budget.reserved(), 0u);
}

TEST(MemoryBudgetTest, AssignmentGivesBackWhatWasHeld) {
  MemoryBudget budget(300);
  auto first = budget.TryReserve(200);
  auto second = budget.TryReserve(50);
  ASSERT_TRUE(first && second);
  *first = std::move(*second);
  EXPECT_EQ(budget.reserved(), 50u);
  EXPECT_EQ(first->mib(), 50u);
}

TEST(MemoryBudgetTest, PeakStays) {
  MemoryBudget budget(300);
  budget.TryReserve(250).reset();
  budget.TryReserve(100).reset();
  EXPECT_EQ(budget.peak_reserved(), 250u);
  EXPECT_EQ(budget.total(), 300u);
}

}  // namespace
}  // namespace snapfaas::faas
