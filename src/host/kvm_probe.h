// What the KVM of this machine can do, found out by running a guest.
//
// A /dev/kvm that opens proves nothing: some modules interpret the guest's ring 0, on which no kernel boots. The probe
// therefore times a ring-0 loop of a million instructions: about a millisecond on hardware, some ten milliseconds
// inside the emulated host, half a second when interpreted.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace snapfaas::host {

enum class KvmState {
  kMissing,          // no /dev/kvm
  kNoPermission,     // it is there, but not for this user
  kWrongApiVersion,  // not version 12
  kCannotCreateVm,   // it opens, but makes no VM, or runs none
  kInterpretsRing0,  // small guests run; a kernel would not
  kUsable,
};

enum class CpuVendor { kAmd, kIntel, kOther };

struct KvmProbe {
  KvmState state = KvmState::kMissing;
  CpuVendor vendor = CpuVendor::kOther;
  bool virtualization = false;  // CPUID shows SVM or VMX
  bool hypervisor = false;      // this machine is itself a virtual one (CPUID leaf 1, ECX bit 31)
  bool emulated_host = false;   // this is the inside of our own emulated host
  double loop_ms = 0;           // CPU time of the ring-0 loop, as far as it was let run; 0 when it never ran
  std::string detail;           // what exactly failed; empty when usable
};

// Takes a few milliseconds where KVM is usable, and is stopped after about 100 ms where it is not. Runs the guest in a
// child process, which is killed when it takes too long.
KvmProbe ProbeKvm(const std::filesystem::path& device = "/dev/kvm");

bool KvmUsable(const KvmProbe& probe);

// Whether this process runs inside the emulated host.
bool InsideEmulatedHost();

// Stable lower-case names for JSON: "missing", "no-permission", "wrong-api-version", "cannot-create-vm",
// "interprets-ring-0", "usable"; "amd", "intel", "other".
std::string_view KvmStateName(KvmState state);
std::string_view CpuVendorName(CpuVendor vendor);

// One sentence for a person: what was found.
std::string Describe(const KvmProbe& probe);

// One sentence for a person: what to do about it. Empty when there is nothing to mend.
std::string Mend(const KvmProbe& probe);

}  // namespace snapfaas::host
