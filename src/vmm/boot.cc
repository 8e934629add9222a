#include "vmm/boot.h"

#include <array>
#include <cstring>
#include <vector>

#include "base/coding.h"
#include "base/units.h"
#include "vmm/layout.h"

namespace snapfaas::vmm {
namespace {

// Offsets in the zero page (Documentation/arch/x86/zero-page.rst).
constexpr size_t kAcpiRsdpOffset = 0x070;
constexpr size_t kE820CountOffset = 0x1e8;
constexpr size_t kBootFlagOffset = 0x1fe;
constexpr size_t kLoaderTypeOffset = 0x210;
constexpr size_t kRamdiskImageOffset = 0x218;
constexpr size_t kRamdiskSizeOffset = 0x21c;
constexpr size_t kCmdlineOffset = 0x228;
constexpr size_t kKernelAlignmentOffset = 0x230;
constexpr size_t kE820Offset = 0x2d0;

constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Reserved = 2;

constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;

template <typename T>
void Put(std::vector<uint8_t>& page, size_t offset, T value) {
  std::memcpy(page.data() + offset, &value, sizeof(T));
}

std::vector<uint8_t> ZeroPage(const BootPlan& plan, uint64_t memory_size) {
  std::vector<uint8_t> page(kPageSize);
  if (plan.kernel.setup_header.empty()) {
    // An ELF kernel brings no header; Linux looks at these fields of it.
    Put(page, kBootFlagOffset, uint16_t{0xaa55});
    Put(page, kSetupMagicOffset, kSetupMagic);
    Put(page, kKernelAlignmentOffset, uint32_t{0x1000000});
  } else {
    std::memcpy(page.data() + kSetupHeaderOffset, plan.kernel.setup_header.data(), plan.kernel.setup_header.size());
  }
  Put(page, kLoaderTypeOffset, uint8_t{0xff});
  Put(page, kCmdlineOffset, static_cast<uint32_t>(kCmdline.value()));
  if (plan.initramfs) {
    Put(page, kRamdiskImageOffset, static_cast<uint32_t>(plan.initramfs->base.value()));
    Put(page, kRamdiskSizeOffset, static_cast<uint32_t>(plan.initramfs->size));
  }
  Put(page, kAcpiRsdpOffset, plan.rsdp.value());

  struct Range {
    uint64_t start;
    uint64_t end;
    uint32_t type;
  };
  const std::array<Range, 3> ranges = {{{0, kLowMemoryEnd, kE820Ram},
                                        {kLowMemoryEnd, kHighMemoryStart, kE820Reserved},
                                        {kHighMemoryStart, memory_size, kE820Ram}}};
  Put(page, kE820CountOffset, static_cast<uint8_t>(ranges.size()));
  size_t offset = kE820Offset;
  for (const Range& range : ranges) {
    Put(page, offset, range.start);
    Put(page, offset + 8, range.end - range.start);
    Put(page, offset + 16, range.type);
    offset += 20;
  }
  return page;
}

// The low 4 GiB one to one, in pages of 2 MiB.
std::vector<uint8_t> PageTables() {
  constexpr uint64_t kPresentWritable = 0x3;
  constexpr uint64_t kLargePage = 0x80;
  constexpr size_t kEntries = 512;
  constexpr size_t kDirectories = 4;
  const uint64_t base = kPageTables.value();
  std::vector<uint64_t> tables(kEntries * (2 + kDirectories));
  tables[0] = (base + kPageSize) | kPresentWritable;
  for (size_t i = 0; i < kDirectories; ++i) tables[kEntries + i] = (base + (2 + i) * kPageSize) | kPresentWritable;
  for (size_t i = 0; i < kEntries * kDirectories; ++i) {
    tables[2 * kEntries + i] = (i * 2_MiB) | kLargePage | kPresentWritable;
  }
  std::vector<uint8_t> bytes(tables.size() * sizeof(uint64_t));
  std::memcpy(bytes.data(), tables.data(), bytes.size());
  return bytes;
}

std::vector<uint8_t> Gdt() {
  ByteWriter writer;
  writer.Put(uint64_t{0});
  writer.Put(uint64_t{0});
  writer.Put(uint64_t{0x00af'9b00'0000'ffff});  // 0x10: 64-bit code
  writer.Put(uint64_t{0x00cf'9300'0000'ffff});  // 0x18: data
  writer.Put(uint64_t{0x008f'8b00'0000'ffff});  // 0x20: task state
  return writer.Take();
}

kvm_segment Segment(uint16_t selector, uint8_t type, uint8_t is_code_or_data) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = is_code_or_data;
  segment.g = 1;
  return segment;
}

}  // namespace

Status WriteBootStructures(const BootPlan& plan, GuestMemory& memory) {
  if (plan.cmdline.size() >= kMaxCmdline) {
    return Fail(ErrorCode::kInvalidArgument, "a kernel command line of {} characters is longer than {}",
                plan.cmdline.size(), kMaxCmdline - 1);
  }
  std::vector<uint8_t> cmdline(plan.cmdline.begin(), plan.cmdline.end());
  cmdline.push_back(0);
  const std::pair<GuestAddress, std::vector<uint8_t>> parts[] = {
      {kGdt, Gdt()}, {kZeroPage, ZeroPage(plan, memory.size())}, {kPageTables, PageTables()}, {kCmdline, cmdline}};
  for (const auto& [address, bytes] : parts) {
    auto written = memory.Write(address, bytes);
    if (!written) return written;
  }
  return {};
}

kvm_regs BootRegisters(const BootPlan& plan) {
  kvm_regs regs{};
  regs.rflags = 2;
  regs.rip = plan.kernel.entry.value();
  regs.rsp = kBootStack.value();
  regs.rbp = kBootStack.value();
  regs.rsi = kZeroPage.value();
  return regs;
}

void SetLongMode(kvm_sregs& sregs) {
  constexpr uint8_t kExecuteRead = 0xb;
  constexpr uint8_t kReadWrite = 0x3;
  constexpr uint8_t kBusyTask = 0xb;
  kvm_segment code = Segment(kCodeSelector, kExecuteRead, 1);
  code.l = 1;
  kvm_segment data = Segment(kDataSelector, kReadWrite, 1);
  data.db = 1;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.tr = Segment(kTaskSelector, kBusyTask, 0);
  sregs.gdt.base = kGdt.value();
  sregs.gdt.limit = 5 * 8 - 1;
  sregs.idt.base = 0;
  sregs.idt.limit = 0xffff;

  constexpr uint64_t kCr0ProtectedMode = 1u << 0;
  constexpr uint64_t kCr0ExtensionType = 1u << 4;
  constexpr uint64_t kCr0Paging = 1u << 31;
  constexpr uint64_t kCr4PhysicalAddressExtension = 1u << 5;
  constexpr uint64_t kEferLongModeEnable = 1u << 8;
  constexpr uint64_t kEferLongModeActive = 1u << 10;
  sregs.cr0 = kCr0ProtectedMode | kCr0ExtensionType | kCr0Paging;
  sregs.cr3 = kPageTables.value();
  sregs.cr4 = kCr4PhysicalAddressExtension;
  sregs.efer = kEferLongModeEnable | kEferLongModeActive;
}

}  // namespace snapfaas::vmm
