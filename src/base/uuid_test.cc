#include "base/uuid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas {
namespace {

TEST(Uuid, HasItsForm) {
  EXPECT_THAT(RandomUuid(),
              ::testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(Uuid, NoTwoAreTheSame) { EXPECT_NE(RandomUuid(), RandomUuid()); }

TEST(RandomBytes, AreAsManyAsAskedFor) {
  EXPECT_EQ(RandomBytes(0), "");
  EXPECT_EQ(RandomBytes(1000).size(), 1000U);
}

}  // namespace
}  // namespace snapfaas
