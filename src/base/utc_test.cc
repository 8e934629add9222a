#include "base/utc.h"

#include <gtest/gtest.h>

namespace snapfaas {
namespace {

TEST(FormatUtc, IsIso8601) {
  EXPECT_EQ(FormatUtc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatUtc(951'782'400'007), "2000-02-29T00:00:00.007Z");
}

}  // namespace
}  // namespace snapfaas
