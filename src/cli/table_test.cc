#include "cli/table.h"

#include <gtest/gtest.h>

namespace snapfaas::cli {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(FormatTable({{"NAME"}, {"N", Align::kRight}, {"STATE"}}, {{"a", "7", "ok"}, {"größer", "12", ""}}),
            "NAME     N  STATE\n"
            "a        7  ok\n"
            "größer  12\n");
}

TEST(Table, TitlesAreThereWithoutRows) { EXPECT_EQ(FormatTable({{"A"}, {"B"}}, {}), "A  B\n"); }

TEST(Table, ControlCharactersAreLeftOut) { EXPECT_EQ(FormatTable({{"A"}}, {{"x\x1b[2J\ny"}}), "A\nx[2Jy\n"); }

TEST(Table, DurationsAndSizesAreShort) {
  EXPECT_EQ(ShortDuration(0.4), "0s");
  EXPECT_EQ(ShortDuration(119), "119s");
  EXPECT_EQ(ShortDuration(600), "10m");
  EXPECT_EQ(ShortDuration(3 * 3600), "3h");
  EXPECT_EQ(ShortDuration(10 * 86400), "10d");
  EXPECT_EQ(ShortBytes(12), "12 B");
  EXPECT_EQ(ShortBytes(2048), "2 KiB");
  EXPECT_EQ(ShortBytes(1.5 * 1024 * 1024), "1.5 MiB");
}

}  // namespace
}  // namespace snapfaas::cli
