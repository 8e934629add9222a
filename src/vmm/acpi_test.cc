#include "vmm/acpi.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <string_view>

#include "vmm/aml.h"
#include "vmm/layout.h"

namespace snapfaas::vmm {
namespace {

constexpr GuestAddress kBase{0xe0000};

template <typename T>
T At(std::span<const uint8_t> bytes, size_t offset) {
  T value{};
  EXPECT_LE(offset + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

uint8_t Sum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// Follows the tables as a guest would: RSDP -> XSDT -> table by signature.
std::span<const uint8_t> FindTable(const std::vector<uint8_t>& all, std::string_view signature) {
  const std::span<const uint8_t> bytes(all);
  const auto table_at = [&](uint64_t address) {
    const size_t offset = address - kBase.value();
    return bytes.subspan(offset, At<uint32_t>(bytes, offset + 4));
  };
  const auto xsdt = table_at(At<uint64_t>(bytes, 24));
  for (size_t entry = 36; entry < xsdt.size(); entry += 8) {
    const auto table = table_at(At<uint64_t>(xsdt, entry));
    if (std::memcmp(table.data(), signature.data(), 4) == 0) return table;
    if (signature == "DSDT" && std::memcmp(table.data(), "FACP", 4) == 0) return table_at(At<uint64_t>(table, 140));
  }
  return {};
}

std::vector<uint8_t> Tables(uint32_t vcpus) {
  const AcpiDevice devices[] = {{GuestAddress(0xd0010000), 0x1000, 5}, {GuestAddress(0xd0011000), 0x1000, 6}};
  return BuildAcpiTables(kBase, vcpus, devices);
}

TEST(AcpiTest, RootPointerHasBothChecksums) {
  const auto all = Tables(1);
  EXPECT_EQ(std::memcmp(all.data(), "RSD PTR ", 8), 0);
  EXPECT_EQ(Sum(std::span(all).first(20)), 0);
  EXPECT_EQ(Sum(std::span(all).first(36)), 0);
}

TEST(AcpiTest, EveryTableIsReachableAndSumsToZero) {
  const auto all = Tables(2);
  for (const char* signature : {"FACP", "APIC", "DSDT"}) {
    const auto table = FindTable(all, signature);
    ASSERT_FALSE(table.empty()) << signature;
    EXPECT_EQ(Sum(table), 0) << signature;
  }
}

TEST(AcpiTest, FadtIsHardwareReducedAndHasTheSpecifiedLength) {
  const auto all = Tables(1);
  const auto fadt = FindTable(all, "FACP");
  EXPECT_EQ(fadt.size(), 276u);
  EXPECT_NE(At<uint32_t>(fadt, 112) & (1u << 20), 0u);
  EXPECT_EQ(At<uint64_t>(fadt, 116 + 4), 0x602u);  // reset register
  EXPECT_EQ(fadt[128], 0x06);                      // reset value
  EXPECT_EQ(At<uint64_t>(fadt, 244 + 4), 0x600u);  // sleep control
}

TEST(AcpiTest, MadtListsEveryVcpu) {
  const auto one = Tables(1);
  const auto eight = Tables(8);
  EXPECT_EQ(FindTable(eight, "APIC").size() - FindTable(one, "APIC").size(), 7u * 8);
}

TEST(AcpiTest, DsdtNamesTheVirtioDevices) {
  const auto all = Tables(1);
  const auto dsdt = FindTable(all, "DSDT");
  const std::string text(dsdt.begin(), dsdt.end());
  EXPECT_NE(text.find("LNRO0005"), std::string::npos);
  EXPECT_NE(text.find("VR00"), std::string::npos);
  EXPECT_NE(text.find("VR01"), std::string::npos);
  EXPECT_EQ(text.find("VR02"), std::string::npos);
  EXPECT_NE(text.find("_S5_"), std::string::npos);
}

TEST(AcpiTest, TablesOfTheLargestMachineFitTheirPlace) {
  std::vector<AcpiDevice> devices(8, AcpiDevice{GuestAddress(0xd0010000), 0x1000, 5});
  EXPECT_LE(BuildAcpiTables(kBase, kMaxVcpus, devices).size(), kAcpiTablesSize);
}

TEST(AmlTest, IntegersTakeTheShortestForm) {
  EXPECT_EQ(aml::Integer(0), (aml::Bytes{0x00}));
  EXPECT_EQ(aml::Integer(1), (aml::Bytes{0x01}));
  EXPECT_EQ(aml::Integer(0x7f), (aml::Bytes{0x0a, 0x7f}));
  EXPECT_EQ(aml::Integer(0x1234), (aml::Bytes{0x0b, 0x34, 0x12}));
  EXPECT_EQ(aml::Integer(0x12345678), (aml::Bytes{0x0c, 0x78, 0x56, 0x34, 0x12}));
}

TEST(AmlTest, EisaIdIsCompressed) { EXPECT_EQ(aml::EisaId("PNP0501"), (aml::Bytes{0x0c, 0x41, 0xd0, 0x05, 0x01})); }

TEST(AmlTest, PackageLengthCountsItself) {
  // One byte up to 63, two up to 4095: ACPI 6.4, 20.2.4.
  const auto small = aml::Buffer(aml::Bytes(10));
  EXPECT_EQ(small[1], 1 + 2 + 10);
  const auto large = aml::Buffer(aml::Bytes(100));
  const size_t length = 2 + 2 + 100;
  EXPECT_EQ(large[1], 0x40 | (length & 0xf));
  EXPECT_EQ(large[2], length >> 4);
}

}  // namespace
}  // namespace snapfaas::vmm
