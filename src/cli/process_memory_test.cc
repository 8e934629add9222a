#include "cli/process_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace snapfaas::cli {
namespace {

constexpr char kSmaps[] =
    "00400000-7fff0000 ---p 00000000 00:00 0    [rollup]\nRss:   9000 kB\nPss:   700 kB\nPss_Dirty:  1 kB\n"
    "Shared_Clean:  10 kB\nShared_Dirty:  20 kB\nPrivate_Clean: 300 kB\nPrivate_Dirty:   4000 kB\n"
    "Anonymous:         1234 kB\nLazyFree:  9 kB\n";

TEST(ProcessMemory, SumsWhatIsSharedAndWhatIsPrivate) {
  const auto memory = ParseSmaps(kSmaps);
  ASSERT_TRUE(memory) << memory.error().Message();
  EXPECT_EQ(memory->resident_kib, 9000);
  EXPECT_EQ(memory->proportional_kib, 700);
  EXPECT_EQ(memory->private_kib, 4300);
  EXPECT_EQ(memory->shared_kib, 30);
  EXPECT_EQ(memory->anonymous_kib, 1234);
}

TEST(ProcessMemory, MissingFieldIsCorruptAndNamed) {
  std::string without(kSmaps);
  without.replace(without.find("Anonymous:"), 10, "Anonymouse");
  for (const std::string& text : {without, std::string("Rss: 12 kB\n"), std::string("Rss:\n"), std::string()}) {
    const auto memory = ParseSmaps(text);
    ASSERT_FALSE(memory) << text;
    EXPECT_EQ(memory.error().code, ErrorCode::kCorrupt);
  }
  EXPECT_NE(ParseSmaps(without).error().Message().find("Anonymous"), std::string::npos);
}

TEST(ProcessMemory, FaultsAreMinorAndMajorOnes) {
  const auto faults = ParseFaults("12 (a) (b)) S 1 2 3 0 -1 4194304 1500 77 30 88 1 2 3\n");
  ASSERT_TRUE(faults) << faults.error().Message();
  EXPECT_EQ(*faults, 1530);
}

TEST(ProcessMemory, FaultsOfSomethingElseAreCorrupt) {
  for (const auto* text : {"", "12 (a", "12 (a) S 1 2", "12 (a) S 1 2 3 0 -1 4194304 x 77 30 88 1\n"}) {
    const auto faults = ParseFaults(text);
    ASSERT_FALSE(faults) << text;
    EXPECT_EQ(faults.error().code, ErrorCode::kCorrupt) << text;
  }
}

TEST(ProcessMemory, AvailableIsNotFree) {
  EXPECT_EQ(*ParseAvailableKib("MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable:   55 kB\n"), 55);
  EXPECT_FALSE(ParseAvailableKib("MemTotal: 100 kB\n"));
}

TEST(ProcessMemory, OfThisProcess) {
  const auto memory = MemoryOf(::getpid());
  ASSERT_TRUE(memory) << memory.error().Message();
  EXPECT_GT(memory->resident_kib, 0);
  EXPECT_LE(memory->proportional_kib, memory->resident_kib);
  const auto faults = FaultsOf(::getpid());
  ASSERT_TRUE(faults) << faults.error().Message();
  EXPECT_GT(*faults, 0);
  EXPECT_TRUE(AvailableKib());
}

TEST(ProcessMemory, OfAProcessThatIsGoneIsAnErrorThatNamesTheFile) {
  constexpr pid_t kNobody = 0x7ffffff0;
  EXPECT_NE(MemoryOf(kNobody).error().Message().find("/smaps_rollup"), std::string::npos);
  EXPECT_FALSE(FaultsOf(kNobody));
}

}  // namespace
}  // namespace snapfaas::cli
