#include "vmm/cpuid.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/coding.h"
#include "snapshot/hash.h"

namespace snapfaas::vmm {
namespace {

constexpr uint32_t kEcxX2Apic = 1u << 21;
constexpr uint32_t kEcxTscDeadline = 1u << 24;
constexpr uint32_t kEcxHypervisor = 1u << 31;
constexpr uint32_t kEdxHyperThreading = 1u << 28;

uint32_t BitsFor(uint32_t count) { return count <= 1 ? 0 : static_cast<uint32_t>(std::bit_width(count - 1)); }

void SetTopologyLeaf(kvm_cpuid_entry2& entry, uint32_t apic_id, uint32_t count) {
  // SDM vol. 2A, CPUID leaves 0BH and 1FH: level 0 is threads (one a core), level 1 cores (all in one package).
  constexpr uint32_t kThreadLevel = 1;
  constexpr uint32_t kCoreLevel = 2;
  entry.eax = entry.index == 1 ? BitsFor(count) : 0;
  entry.ebx = entry.index == 0 ? 1 : entry.index == 1 ? count : 0;
  const uint32_t type = entry.index == 0 ? kThreadLevel : entry.index == 1 ? kCoreLevel : 0;
  entry.ecx = (type << 8) | (entry.index & 0xff);
  entry.edx = apic_id;
}

}  // namespace

std::vector<kvm_cpuid_entry2> GuestCpuid(std::vector<kvm_cpuid_entry2> supported, uint32_t index, uint32_t count,
                                         TscDeadline tsc_deadline) {
  for (kvm_cpuid_entry2& entry : supported) {
    switch (entry.function) {
      case 0x1:
        entry.ebx = (entry.ebx & 0x0000ffff) | (count << 16) | (index << 24);
        entry.ecx |= kEcxHypervisor | kEcxX2Apic;
        if (tsc_deadline == TscDeadline::kPresent) entry.ecx |= kEcxTscDeadline;
        if (count > 1) {
          entry.edx |= kEdxHyperThreading;
        } else {
          entry.edx &= ~kEdxHyperThreading;
        }
        break;
      case 0x4:
        // Cores of the package in bits 31:26; caches other than the last level are not shared.
        if ((entry.eax & 0x1f) != 0) {
          const uint32_t level = (entry.eax >> 5) & 0x7;
          const uint32_t sharing = level >= 3 ? count - 1 : 0;
          entry.eax = (entry.eax & 0x00003fff) | (sharing << 14) | ((count - 1) << 26);
        }
        break;
      case 0xa:
        // Performance counters are not virtualized: their state would have to be in every snapshot.
        entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
        break;
      case 0xb:
      case 0x1f:
        SetTopologyLeaf(entry, index, count);
        break;
      case 0x80000008:
        entry.ecx = (BitsFor(count) << 12) | (count - 1);
        break;
      case 0x8000001e:
        // AMD: extended APIC id, one thread a core, one node.
        entry.eax = index;
        entry.ebx = index;
        entry.ecx = 0;
        break;
      default:
        break;
    }
  }
  return supported;
}

snapshot::CpuFingerprint Fingerprint(const std::vector<kvm_cpuid_entry2>& cpuid) {
  snapshot::CpuFingerprint fingerprint;
  ByteWriter bytes;
  for (const kvm_cpuid_entry2& entry : cpuid) {
    // Leaf 0xd reports in EBX the size of what is switched on at the moment, not of the CPU.
    const uint32_t ebx = entry.function == 0xd ? 0 : entry.ebx;
    for (const uint32_t value : {entry.function, entry.index, entry.eax, ebx, entry.ecx, entry.edx}) bytes.Put(value);
    if (entry.function == 0) {
      const uint32_t text[3] = {entry.ebx, entry.edx, entry.ecx};
      std::memcpy(fingerprint.vendor.data(), text, sizeof(text));
    } else if (entry.function == 1) {
      const uint32_t family = (entry.eax >> 8) & 0xf;
      const uint32_t model = (entry.eax >> 4) & 0xf;
      fingerprint.family = family == 0xf ? family + ((entry.eax >> 20) & 0xff) : family;
      fingerprint.model = model | (((entry.eax >> 16) & 0xf) << 4);
      fingerprint.stepping = entry.eax & 0xf;
    } else if (entry.function == 0xd && entry.index == 0) {
      fingerprint.xsave_bytes = entry.ecx;
    }
  }
  fingerprint.cpuid_hash = snapshot::Hash64(bytes.bytes());
  return fingerprint;
}

}  // namespace snapfaas::vmm
