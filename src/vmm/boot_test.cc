#include "vmm/boot.h"

#include <gtest/gtest.h>

#include <string>

#include "base/units.h"
#include "vmm/layout.h"

namespace snapfaas::vmm {
namespace {

class BootTest : public ::testing::Test {
 protected:
  BootPlan Plan(std::string_view cmdline) const {
    return {{GuestAddress(0x100200), {}, 4_MiB},
            LoadedInitramfs{GuestAddress(0x300000), 77},
            cmdline,
            GuestAddress(0xe0000)};
  }
  template <typename T>
  T InZeroPage(uint64_t offset) const {
    return *memory_.ReadObject<T>(kZeroPage + offset);
  }

  GuestMemory memory_ = std::move(*GuestMemory::Create(4_MiB));
};

TEST_F(BootTest, ZeroPageTellsTheKernelWhereEverythingIs) {
  ASSERT_TRUE(WriteBootStructures(Plan("console=ttyS0"), memory_));
  EXPECT_EQ(InZeroPage<uint64_t>(0x070), 0xe0000u);
  EXPECT_EQ(InZeroPage<uint32_t>(0x218), 0x300000u);
  EXPECT_EQ(InZeroPage<uint32_t>(0x21c), 77u);
  EXPECT_EQ(InZeroPage<uint32_t>(0x228), kCmdline.value());
  EXPECT_EQ(InZeroPage<uint8_t>(0x210), 0xff);
  EXPECT_EQ(*memory_.ReadObject<char>(kCmdline), 'c');
}

TEST_F(BootTest, MemoryMapEndsWhereMemoryEnds) {
  ASSERT_TRUE(WriteBootStructures(Plan(""), memory_));
  const auto count = InZeroPage<uint8_t>(0x1e8);
  ASSERT_EQ(count, 3);
  const uint64_t last = 0x2d0 + 20 * (count - 1u);
  EXPECT_EQ(InZeroPage<uint64_t>(last) + InZeroPage<uint64_t>(last + 8), 4_MiB);
}

TEST_F(BootTest, CommandLineIsBounded) {
  const std::string longest(kMaxCmdline - 1, 'a');
  EXPECT_TRUE(WriteBootStructures(Plan(longest), memory_));
  auto refused = WriteBootStructures(Plan(longest + "a"), memory_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(BootTest, PageTablesMapTheLowFourGibibytesOneToOne) {
  ASSERT_TRUE(WriteBootStructures(Plan(""), memory_));
  for (const uint64_t address : {uint64_t{0}, 1_GiB + 6_MiB, 4_GiB - 2_MiB}) {
    const uint64_t pml4 = *memory_.ReadObject<uint64_t>(kPageTables);
    const GuestAddress pdpt(pml4 & ~(kPageSize - 1));
    const uint64_t directory = *memory_.ReadObject<uint64_t>(pdpt + address / 1_GiB * 8);
    const GuestAddress pd(directory & ~(kPageSize - 1));
    const uint64_t entry = *memory_.ReadObject<uint64_t>(pd + address % 1_GiB / 2_MiB * 8);
    EXPECT_EQ(entry & ~(2_MiB - 1), address);
    EXPECT_EQ(entry & 0x83, 0x83u);
  }
}

}  // namespace
}  // namespace snapfaas::vmm
