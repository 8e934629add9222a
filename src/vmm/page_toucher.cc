#include "vmm/page_toucher.h"

#include <array>
#include <cstring>
#include <variant>
#include <vector>

#include "wire/guest_abi.h"

namespace snapfaas::vmm {
namespace {

// 32-bit protected mode, flat, without paging: esi points to the list, ecx counts it, edx is the doorbell.
constexpr std::array<uint8_t, 14> kCode = {
    0x8b, 0x06,        // next: mov eax, [esi]
    0x8a, 0x18,        //       mov bl, [eax]
    0x83, 0xc6, 0x04,  //       add esi, 4
    0xe2, 0xf7,        //       loop next
    0xc6, 0x02, 0x00,  //       mov byte [edx], 0
    0xeb, 0xfe,        //       jmp $
};
constexpr uint64_t kListOffset = 64;

kvm_segment FlatSegment(uint8_t type) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = 8;
  segment.type = type;
  segment.present = 1;
  segment.db = 1;
  segment.s = 1;
  segment.g = 1;
  return segment;
}

Status EnterFlatMode(const kvm::Vcpu& vcpu) {
  auto sregs = vcpu.GetSregs();
  if (!sregs) return Forward(sregs.error());
  constexpr uint8_t kExecuteRead = 0xb;
  constexpr uint8_t kReadWrite = 0x3;
  constexpr uint64_t kProtectedMode = 0x11;  // PE, ET
  sregs->cs = FlatSegment(kExecuteRead);
  sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = FlatSegment(kReadWrite);
  sregs->cr0 = kProtectedMode;
  return vcpu.SetSregs(*sregs);
}

// Runs the code over the list, up to its ring.
Status TouchList(kvm::Vcpu& vcpu, const MappedRegion& page, GuestAddress base, std::span<const uint32_t> list) {
  std::memcpy(page.data() + kListOffset, list.data(), list.size_bytes());
  kvm_regs regs{};
  regs.rip = base.value();
  regs.rsi = base.value() + kListOffset;
  regs.rcx = list.size();
  regs.rdx = wire::kDoorbellMmioBase;
  regs.rflags = 2;
  auto set = vcpu.SetRegs(regs);
  if (!set) return set;
  auto exit = vcpu.Run();
  while (exit && std::holds_alternative<kvm::InterruptedExit>(*exit)) exit = vcpu.Run();
  if (!exit) return Forward(exit.error());
  if (!std::holds_alternative<kvm::MmioWriteExit>(*exit)) {
    return Fail(ErrorCode::kUnavailable, "KVM could not touch the snapshot's pages ahead");
  }
  return vcpu.CompleteAccess();
}

}  // namespace

Status TouchPages(kvm::Vcpu& vcpu, const MappedRegion& page, GuestAddress base, std::span<const PageRun> runs) {
  auto ready = EnterFlatMode(vcpu);
  if (!ready) return ready;
  std::memcpy(page.data(), kCode.data(), kCode.size());
  const size_t at_once = (page.size() - kListOffset) / sizeof(uint32_t);
  std::vector<uint32_t> list;
  list.reserve(at_once);
  for (const PageRun& run : runs) {
    for (uint64_t number = run.first_page; number < run.end(); ++number) {
      list.push_back(static_cast<uint32_t>(number * kPageSize));
      if (list.size() < at_once) continue;
      auto touched = TouchList(vcpu, page, base, list);
      if (!touched) return touched;
      list.clear();
    }
  }
  return list.empty() ? Status() : TouchList(vcpu, page, base, list);
}

}  // namespace snapfaas::vmm
