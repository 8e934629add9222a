// The CPUID that guests see, derived from what KVM supports, and its fingerprint in snapshots.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "snapshot/format.h"

namespace snapfaas::vmm {

// KVM_GET_SUPPORTED_CPUID's entries, made into those of vCPU `index` of `count`: its APIC id and topology, the
// hypervisor bit (mainline KVM leaves it clear, and without it Linux never looks for kvm-clock), the TSC deadline timer
// where `has_tsc_deadline`, no performance counters.
enum class TscDeadline { kAbsent, kPresent };
std::vector<kvm_cpuid_entry2> GuestCpuid(std::vector<kvm_cpuid_entry2> supported, uint32_t index, uint32_t count,
                                         TscDeadline tsc_deadline);

// REQUIRES: `cpuid` is that of vCPU 0.
snapshot::CpuFingerprint Fingerprint(const std::vector<kvm_cpuid_entry2>& cpuid);

}  // namespace snapfaas::vmm
