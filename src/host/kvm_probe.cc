#include "host/kvm_probe.h"

#include <cpuid.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "host/machine_setup.h"

namespace snapfaas::host {
namespace {

constexpr int kApiVersion = 12;
// mov ecx, 500000; again: dec ecx; jnz again; hlt - in 16-bit real mode.
constexpr std::array<uint8_t, 11> kLoop{0x66, 0xb9, 0x20, 0xa1, 0x07, 0x00, 0x66, 0x49, 0x75, 0xfc, 0xf4};

// CPU time, since a loaded machine must not look like one that interprets. The emulated host, where a program may be
// held up by its own host, is known to be usable: there the limit is only for a KVM that hangs.
constexpr int64_t kLoopLimitNs = 100'000'000;
constexpr int64_t kLoopLimitEmulatedNs = 5'000'000'000;
constexpr int64_t kWallLimitNs = 20'000'000'000;
constexpr int kPollMs = 5;

// What the child says through its pipe when the guest has halted, or could not be run.
struct LoopReport {
  const char* failed_step;  // a string literal, at the same address in both processes; null when the loop ended
  int os_errno;
  int64_t cpu_ns;
};

int64_t OwnCpuNanos() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

int64_t CpuNanosOf(pid_t pid) {
  clockid_t clock{};
  timespec now{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &now) != 0) return 0;
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

LoopReport FailedStep(const char* step) { return {step, errno, 0}; }

// Runs in the child: only system calls, since the parent may have other threads. What it opens ends with it.
LoopReport RunLoop(int kvm) {
  constexpr size_t kGuestMemory = 4096;
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) return FailedStep("KVM_CREATE_VM");
  // Intel CPUs without unrestricted guests need it for real mode; others ignore it.
  ::ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);
  void* memory = ::mmap(nullptr, kGuestMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return FailedStep("mmap");
  std::memcpy(memory, kLoop.data(), kLoop.size());
  kvm_userspace_memory_region region{};
  region.memory_size = kGuestMemory;
  region.userspace_addr = reinterpret_cast<uintptr_t>(memory);
  if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) return FailedStep("KVM_SET_USER_MEMORY_REGION");
  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return FailedStep("KVM_CREATE_VCPU");
  const int run_size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size <= 0) return FailedStep("KVM_GET_VCPU_MMAP_SIZE");
  void* run_memory = ::mmap(nullptr, static_cast<size_t>(run_size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run_memory == MAP_FAILED) return FailedStep("mapping the vCPU");
  const auto* run = static_cast<const kvm_run*>(run_memory);
  kvm_sregs sregs{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &sregs) != 0) return FailedStep("KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  if (::ioctl(vcpu, KVM_SET_SREGS, &sregs) != 0) return FailedStep("KVM_SET_SREGS");
  kvm_regs regs{};
  regs.rflags = 2;
  if (::ioctl(vcpu, KVM_SET_REGS, &regs) != 0) return FailedStep("KVM_SET_REGS");

  const int64_t start = OwnCpuNanos();
  if (::ioctl(vcpu, KVM_RUN, 0) != 0) return FailedStep("KVM_RUN");
  const int64_t spent = OwnCpuNanos() - start;
  errno = 0;
  if (run->exit_reason != KVM_EXIT_HLT) return FailedStep("KVM_RUN, which ended without the guest's hlt");
  return {nullptr, 0, spent};
}

// The child that runs the guest; killed when it goes out of scope.
class LoopProcess {
 public:
  LoopProcess(pid_t pid, UniqueFd report) : pid_(pid), report_(std::move(report)) {}
  LoopProcess(const LoopProcess&) = delete;
  LoopProcess& operator=(const LoopProcess&) = delete;
  ~LoopProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  int64_t CpuNanos() const { return CpuNanosOf(pid_); }

  // Nothing when the child has used up its CPU time, or hangs.
  std::optional<LoopReport> Wait(int64_t cpu_limit_ns) const {
    const int64_t deadline = MonotonicNanos() + kWallLimitNs;
    while (CpuNanos() < cpu_limit_ns && MonotonicNanos() < deadline) {
      pollfd wait{report_.get(), POLLIN, 0};
      if (::poll(&wait, 1, kPollMs) <= 0) continue;
      LoopReport report{};
      if (::read(report_.get(), &report, sizeof(report)) == static_cast<ssize_t>(sizeof(report))) return report;
      return LoopReport{"the probe's process, which was killed", 0, 0};
    }
    return std::nullopt;
  }

 private:
  pid_t pid_;
  UniqueFd report_;
};

void TimeLoop(int kvm, KvmProbe& probe) {
  std::array<int, 2> ends{};
  probe.state = KvmState::kCannotCreateVm;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    probe.detail = fmt::format("making a pipe: {}", strerror(errno));
    return;
  }
  UniqueFd report_read(ends[0]);
  const UniqueFd report_write(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    probe.detail = fmt::format("starting the probe's process: {}", strerror(errno));
    return;
  }
  if (pid == 0) {
    const LoopReport report = RunLoop(kvm);
    [[maybe_unused]] const ssize_t n = ::write(report_write.get(), &report, sizeof(report));
    ::_exit(0);
  }
  const LoopProcess child(pid, std::move(report_read));
  const auto report = child.Wait(probe.emulated_host ? kLoopLimitEmulatedNs : kLoopLimitNs);
  probe.loop_ms = ToMillis(report ? report->cpu_ns : child.CpuNanos());
  if (!report) {
    probe.state = KvmState::kInterpretsRing0;
    probe.detail = fmt::format("a ring-0 loop of a million instructions was stopped after {:.0f} ms", probe.loop_ms);
  } else if (report->failed_step != nullptr) {
    probe.detail = report->os_errno == 0 ? std::string(report->failed_step)
                                         : fmt::format("{}: {}", report->failed_step, strerror(report->os_errno));
  } else {
    probe.state = KvmState::kUsable;
  }
}

void ReadCpu(KvmProbe& probe) {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return;
  if (ebx == signature_AMD_ebx && ecx == signature_AMD_ecx && edx == signature_AMD_edx) probe.vendor = CpuVendor::kAmd;
  if (ebx == signature_INTEL_ebx && ecx == signature_INTEL_ecx && edx == signature_INTEL_edx) {
    probe.vendor = CpuVendor::kIntel;
  }
  // Intel SDM vol. 2A, CPUID leaf 1: ECX bit 5 is VMX; bit 31 is left to hypervisors.
  constexpr unsigned kVmx = 1U << 5;
  constexpr unsigned kHypervisor = 1U << 31;
  // AMD APM vol. 3, CPUID Fn8000_0001: ECX bit 2 is SVM.
  constexpr unsigned kExtendedLeaf = 0x80000001;
  constexpr unsigned kSvm = 1U << 2;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
    probe.hypervisor = (ecx & kHypervisor) != 0;
    probe.virtualization = probe.vendor == CpuVendor::kIntel && (ecx & kVmx) != 0;
  }
  if (probe.vendor == CpuVendor::kAmd && __get_cpuid(kExtendedLeaf, &eax, &ebx, &ecx, &edx) != 0) {
    probe.virtualization = (ecx & kSvm) != 0;
  }
}

constexpr std::string_view kUseEmulatedHost = "or use the emulated host: snapfaas host start";

std::string MendMissing(const KvmProbe& probe) {
  const std::string_view module = probe.vendor == CpuVendor::kAmd ? "kvm_amd" : "kvm_intel";
  const std::string_view feature = probe.vendor == CpuVendor::kAmd ? "SVM (AMD-V)" : "VMX (Intel VT-x)";
  if (probe.virtualization) return fmt::format("load the module: sudo modprobe {}; {}", module, kUseEmulatedHost);
  if (probe.hypervisor) {
    return fmt::format("this is a virtual machine: have its provider turn on nested virtualization, {}",
                       kUseEmulatedHost);
  }
  if (probe.vendor == CpuVendor::kOther) return fmt::format("this CPU has no SVM or VMX; {}", kUseEmulatedHost);
  return fmt::format("turn on {} in the firmware's settings and load {}, {}", feature, module, kUseEmulatedHost);
}

}  // namespace

KvmProbe ProbeKvm(const std::filesystem::path& device) {
  KvmProbe probe;
  ReadCpu(probe);
  probe.emulated_host = InsideEmulatedHost();
  const UniqueFd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) {
    // ENODEV and ENXIO: a device node without its module.
    const bool refused = errno == EACCES || errno == EPERM;
    probe.state = refused ? KvmState::kNoPermission : KvmState::kMissing;
    probe.detail = fmt::format("opening {}: {}", device.string(), strerror(errno));
    return probe;
  }
  const int version = ::ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
  if (version != kApiVersion) {
    probe.state = KvmState::kWrongApiVersion;
    probe.detail = version < 0 ? fmt::format("{} is no KVM device", device.string())
                               : fmt::format("API version {} instead of {}", version, kApiVersion);
    return probe;
  }
  TimeLoop(kvm.get(), probe);
  return probe;
}

bool KvmUsable(const KvmProbe& probe) { return probe.state == KvmState::kUsable; }

bool InsideEmulatedHost() { return ::access(kInsideMark, F_OK) == 0; }

std::string_view KvmStateName(KvmState state) {
  switch (state) {
    case KvmState::kMissing:
      return "missing";
    case KvmState::kNoPermission:
      return "no-permission";
    case KvmState::kWrongApiVersion:
      return "wrong-api-version";
    case KvmState::kCannotCreateVm:
      return "cannot-create-vm";
    case KvmState::kInterpretsRing0:
      return "interprets-ring-0";
    case KvmState::kUsable:
      return "usable";
  }
  return "unknown";
}

std::string_view CpuVendorName(CpuVendor vendor) {
  switch (vendor) {
    case CpuVendor::kAmd:
      return "amd";
    case CpuVendor::kIntel:
      return "intel";
    case CpuVendor::kOther:
      return "other";
  }
  return "unknown";
}

std::string Describe(const KvmProbe& probe) {
  switch (probe.state) {
    case KvmState::kMissing:
      return fmt::format("there is no KVM ({})", probe.detail);
    case KvmState::kNoPermission:
      return fmt::format("KVM is there, but not for this user ({})", probe.detail);
    case KvmState::kWrongApiVersion:
      return fmt::format("KVM speaks another API ({})", probe.detail);
    case KvmState::kCannotCreateVm:
      return fmt::format("KVM runs no guest ({})", probe.detail);
    case KvmState::kInterpretsRing0:
      return fmt::format("KVM interprets the guest's ring 0: no kernel boots on it ({})", probe.detail);
    case KvmState::kUsable:
      return fmt::format("KVM is usable (a million ring-0 instructions in {:.1f} ms)", probe.loop_ms);
  }
  return {};
}

std::string Mend(const KvmProbe& probe) {
  switch (probe.state) {
    case KvmState::kMissing:
      return MendMissing(probe);
    case KvmState::kNoPermission:
      return fmt::format("add yourself to the group kvm and log in again: sudo usermod -aG kvm \"$USER\"; {}",
                         kUseEmulatedHost);
    case KvmState::kWrongApiVersion:
      return fmt::format("boot a kernel with a KVM of its own (Linux 2.6.22 or later), {}", kUseEmulatedHost);
    case KvmState::kCannotCreateVm:
      return fmt::format("close other hypervisors and look into dmesg for what KVM says, {}", kUseEmulatedHost);
    case KvmState::kInterpretsRing0:
      return "use a machine with hardware (or nested) virtualization, or the emulated host: snapfaas host start";
    case KvmState::kUsable:
      return {};
  }
  return {};
}

}  // namespace snapfaas::host
