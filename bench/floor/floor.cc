// The floor of a restore: what this host's KVM takes for a microVM of our shape, whoever drives it.
//
// Measured up to the exit for the guest's first doorbell write (port 0x3f0), which comes after a few instructions:
//   floor_ms           from just before KVM_CREATE_VM: everything is made when it is asked for
//   prepared_floor_ms  from just before the state is loaded: the VM was made beforehand, as a pool of shells does
//
// The VM has what snapfaas-vmm's has as far as KVM sees it: memory slot, interrupt controllers, an irqfd and an
// ioeventfd for each of four devices, vCPUs with their CPUID; and every vCPU, interrupt controller and clock gets the
// whole state that a snapshot holds. The rest of a restore is left out: starting a process, reading or mapping a memory
// image, devices, vCPU threads, and the guest's own way to its mark, whose page faults are most of it. Only vCPU 0
// runs. So a restore cannot be faster than this on the same host, and what it takes above it is up to us and to the
// guest.
//
// Prints {"memory_mib":..,"vcpus":..,"floor_ms":[..],"prepared_floor_ms":[..]}, a number for each run.
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// As src/vmm/layout.h places things.
constexpr uint32_t kDevices = 4;
constexpr uint32_t kFirstGsi = 5;
constexpr uint64_t kQueueNotify = 0xd0010050;
constexpr uint64_t kDeviceStride = 0x1000;
constexpr uint64_t kIntelIdentityMap = 0xfeffc000;
constexpr unsigned long kIntelTss = 0xfeffd000;
constexpr uint16_t kDoorbellPort = 0x3f0;

// Real mode: mov dx, 0x3f0; mov al, 1; out dx, al; hlt
constexpr uint64_t kCodeAt = 0x1000;
constexpr std::array<uint8_t, 7> kCode = {0xba, kDoorbellPort & 0xff, kDoorbellPort >> 8, 0xb0, 0x01, 0xee, 0xf4};

// The requests whose structures end in an array, which has another size in C++ than in C.
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);
constexpr unsigned long kGetMsrIndexList = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, 4);
constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, 8);
constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);
constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, 4096);
constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, 4096);
constexpr unsigned long kGetXsave2 = _IOC(_IOC_READ, KVMIO, 0xcf, 4096);

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "snapfaas-floor: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

template <typename Argument>
int Ioctl(int fd, unsigned long request, Argument argument, const char* what) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) Die(what);
  return result;
}

class Fd {
 public:
  Fd(int fd, const char* what) : fd_(fd) {
    if (fd_ < 0) Die(what);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class Mapping {
 public:
  Mapping(size_t size, int flags, int fd) : size_(size) {
    data_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (data_ == MAP_FAILED) Die("mapping memory");
  }
  Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  Mapping& operator=(Mapping&&) = delete;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  uint8_t* bytes() const { return static_cast<uint8_t*>(data_); }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_;
};

// A 32-bit count, padding, then the entries: kvm_cpuid2, kvm_msrs, kvm_msr_list.
template <typename Entry, size_t kHeaderBytes>
class Array {
 public:
  explicit Array(size_t count) : storage_((kHeaderBytes + count * sizeof(Entry) + 7) / 8) {
    *count_field() = static_cast<uint32_t>(count);
  }
  void* data() { return storage_.data(); }
  Entry* begin() { return reinterpret_cast<Entry*>(reinterpret_cast<std::byte*>(storage_.data()) + kHeaderBytes); }
  Entry* end() { return begin() + *count_field(); }

 private:
  uint32_t* count_field() { return reinterpret_cast<uint32_t*>(storage_.data()); }

  std::vector<uint64_t> storage_;
};

using CpuidTable = Array<kvm_cpuid_entry2, 8>;
using MsrList = Array<uint32_t, 4>;
using MsrValues = Array<kvm_msr_entry, 8>;

// What is asked of KVM once.
struct Kvm {
  Fd fd{::open("/dev/kvm", O_RDWR | O_CLOEXEC), "cannot open /dev/kvm"};
  size_t run_size =
      static_cast<size_t>(Ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0UL, "asking for the size of a vCPU's area"));
  CpuidTable cpuid{256};

  Kvm() { Ioctl(fd.get(), kGetSupportedCpuid, cpuid.data(), "asking for the CPUID that KVM supports"); }
};

struct Shape {
  size_t memory_bytes = 0;
  uint32_t vcpus = 0;
};

struct Vcpu {
  Fd fd;
  Mapping run;
};

// A VM of our shape with nothing loaded. Its memory outlives it.
class Vm {
 public:
  Vm(Kvm& kvm, const Shape& shape, const Mapping& memory)
      : fd_(::ioctl(kvm.fd.get(), KVM_CREATE_VM, 0UL), "creating a VM") {
    uint64_t identity_map = kIntelIdentityMap;
    Ioctl(fd(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "placing the identity map");
    Ioctl(fd(), KVM_SET_TSS_ADDR, kIntelTss, "placing the TSS");
    kvm_userspace_memory_region region{};
    region.memory_size = memory.size();
    region.userspace_addr = reinterpret_cast<uint64_t>(memory.bytes());
    Ioctl(fd(), KVM_SET_USER_MEMORY_REGION, &region, "giving the VM its memory");
    Ioctl(fd(), KVM_CREATE_IRQCHIP, 0UL, "creating the interrupt controllers");
    for (uint32_t device = 0; device < kDevices; ++device) AddDevice(device);
    for (uint32_t i = 0; i < shape.vcpus; ++i) AddVcpu(kvm, i);
  }

  int fd() const { return fd_.get(); }
  const std::vector<Vcpu>& vcpus() const { return vcpus_; }

 private:
  void AddDevice(uint32_t device) {
    const Fd& interrupt = lines_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "making an eventfd");
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<uint32_t>(interrupt.get());
    irqfd.gsi = kFirstGsi + device;
    Ioctl(fd(), KVM_IRQFD, &irqfd, "attaching an irqfd");
    const Fd& notify = lines_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "making an eventfd");
    kvm_ioeventfd io_event{};
    io_event.addr = kQueueNotify + device * kDeviceStride;
    io_event.len = 4;
    io_event.fd = notify.get();
    Ioctl(fd(), KVM_IOEVENTFD, &io_event, "attaching an ioeventfd");
  }

  void AddVcpu(Kvm& kvm, uint32_t index) {
    Fd vcpu(::ioctl(fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)), "creating a vCPU");
    Mapping run(kvm.run_size, MAP_SHARED, vcpu.get());
    Ioctl(vcpu.get(), kSetCpuid2, kvm.cpuid.data(), "setting a vCPU's CPUID");
    vcpus_.push_back({std::move(vcpu), std::move(run)});
  }

  Fd fd_;
  std::vector<Fd> lines_;
  std::vector<Vcpu> vcpus_;
};

struct VcpuState {
  kvm_mp_state mp_state{};
  kvm_regs regs{};
  kvm_sregs sregs{};
  std::vector<uint8_t> xsave;
  kvm_xcrs xcrs{};
  kvm_debugregs debugregs{};
  kvm_lapic_state lapic{};
  MsrValues msrs{0};
  kvm_vcpu_events events{};
};

struct State {
  std::vector<VcpuState> vcpus;
  std::array<kvm_irqchip, 3> irqchips{};
  kvm_clock_data clock{};
};

// The MSRs that can be read and loaded again.
MsrValues SaveMsrs(const Kvm& kvm, int vcpu) {
  MsrList list(1024);
  Ioctl(kvm.fd.get(), kGetMsrIndexList, list.data(), "asking for the list of MSRs");
  std::vector<kvm_msr_entry> values;
  for (const uint32_t index : list) {
    MsrValues one(1);
    one.begin()->index = index;
    if (::ioctl(vcpu, kGetMsrs, one.data()) == 1 && ::ioctl(vcpu, kSetMsrs, one.data()) == 1) {
      values.push_back(*one.begin());
    }
  }
  MsrValues all(values.size());
  std::copy(values.begin(), values.end(), all.begin());
  return all;
}

VcpuState SaveVcpu(const Kvm& kvm, int vcpu) {
  VcpuState state;
  Ioctl(vcpu, KVM_GET_MP_STATE, &state.mp_state, "reading a vCPU's run state");
  Ioctl(vcpu, KVM_GET_REGS, &state.regs, "reading a vCPU's registers");
  Ioctl(vcpu, KVM_GET_SREGS, &state.sregs, "reading a vCPU's special registers");
  const int xsave2 = Ioctl(kvm.fd.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2),
                           "asking for the size of the FPU state");
  state.xsave.resize(static_cast<size_t>(std::max(xsave2, 4096)));
  Ioctl(vcpu, xsave2 > 0 ? kGetXsave2 : kGetXsave, state.xsave.data(), "reading a vCPU's FPU state");
  Ioctl(vcpu, KVM_GET_XCRS, &state.xcrs, "reading a vCPU's XCRs");
  Ioctl(vcpu, KVM_GET_DEBUGREGS, &state.debugregs, "reading a vCPU's debug registers");
  Ioctl(vcpu, KVM_GET_LAPIC, &state.lapic, "reading a vCPU's local APIC");
  state.msrs = SaveMsrs(kvm, vcpu);
  Ioctl(vcpu, KVM_GET_VCPU_EVENTS, &state.events, "reading a vCPU's events");
  return state;
}

// The state of a new VM, with vCPU 0 before the code at kCodeAt.
State SaveState(const Kvm& kvm, const Vm& vm) {
  State state;
  for (const Vcpu& vcpu : vm.vcpus()) state.vcpus.push_back(SaveVcpu(kvm, vcpu.fd.get()));
  VcpuState& first = state.vcpus.front();
  first.sregs.cs.base = 0;
  first.sregs.cs.selector = 0;
  first.regs.rip = kCodeAt;
  for (uint32_t i = 0; i < state.irqchips.size(); ++i) {
    state.irqchips[i].chip_id = i;
    Ioctl(vm.fd(), KVM_GET_IRQCHIP, &state.irqchips[i], "reading an interrupt controller");
  }
  Ioctl(vm.fd(), KVM_GET_CLOCK, &state.clock, "reading the clock");
  // What KVM_SET_CLOCK takes: the clock goes on from where it stood.
  state.clock.flags = 0;
  return state;
}

// In the order that snapfaas-vmm keeps.
void LoadState(const Vm& vm, State& state) {
  for (size_t i = 0; i < state.vcpus.size(); ++i) {
    const int vcpu = vm.vcpus()[i].fd.get();
    VcpuState& values = state.vcpus[i];
    Ioctl(vcpu, KVM_SET_MP_STATE, &values.mp_state, "loading a vCPU's run state");
    Ioctl(vcpu, KVM_SET_REGS, &values.regs, "loading a vCPU's registers");
    Ioctl(vcpu, KVM_SET_SREGS, &values.sregs, "loading a vCPU's special registers");
    Ioctl(vcpu, kSetXsave, values.xsave.data(), "loading a vCPU's FPU state");
    Ioctl(vcpu, KVM_SET_XCRS, &values.xcrs, "loading a vCPU's XCRs");
    Ioctl(vcpu, KVM_SET_DEBUGREGS, &values.debugregs, "loading a vCPU's debug registers");
    Ioctl(vcpu, KVM_SET_LAPIC, &values.lapic, "loading a vCPU's local APIC");
    Ioctl(vcpu, kSetMsrs, values.msrs.data(), "loading a vCPU's MSRs");
    Ioctl(vcpu, KVM_SET_VCPU_EVENTS, &values.events, "loading a vCPU's events");
  }
  for (kvm_irqchip& chip : state.irqchips) Ioctl(vm.fd(), KVM_SET_IRQCHIP, &chip, "loading an interrupt controller");
  Ioctl(vm.fd(), KVM_SET_CLOCK, &state.clock, "loading the clock");
}

void RunToDoorbell(const Vcpu& vcpu) {
  Ioctl(vcpu.fd.get(), KVM_RUN, 0UL, "running the guest");
  const auto* run = reinterpret_cast<const kvm_run*>(vcpu.run.bytes());
  if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == kDoorbellPort) return;
  std::fprintf(stderr, "snapfaas-floor: the guest came out with exit reason %u instead of its doorbell\n",
               run->exit_reason);
  std::exit(1);
}

Mapping MakeMemory(const Shape& shape) {
  Mapping memory(shape.memory_bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  // The guest touches one page: a huge one would be cleared for nothing.
  ::madvise(memory.bytes(), memory.size(), MADV_NOHUGEPAGE);
  return memory;
}

double MillisBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

struct Floor {
  double whole_ms = 0;
  double prepared_ms = 0;
};

Floor MeasureOnce(Kvm& kvm, const Shape& shape, State& state) {
  const Mapping memory = MakeMemory(shape);
  std::copy(kCode.begin(), kCode.end(), memory.bytes() + kCodeAt);
  const auto start = Clock::now();
  const Vm vm(kvm, shape, memory);
  const auto made = Clock::now();
  LoadState(vm, state);
  RunToDoorbell(vm.vcpus().front());
  const auto end = Clock::now();
  return {MillisBetween(start, end), MillisBetween(made, end)};
}

State MakeState(Kvm& kvm, const Shape& shape) {
  const Mapping memory = MakeMemory(shape);
  return SaveState(kvm, Vm(kvm, shape, memory));
}

struct Options {
  uint32_t memory_mib = 128;
  uint32_t vcpus = 1;
  uint32_t runs = 30;
};

[[noreturn]] void ShowUsage() {
  std::fprintf(stderr, "usage: snapfaas-floor [--memory-mib 1..3072] [--vcpus 1..8] [--runs 1..1000000]\n");
  std::exit(2);
}

uint32_t ParseNumber(std::string_view text, uint32_t most) {
  uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  if (!whole || value == 0 || value > most) ShowUsage();
  return value;
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  const option known[] = {{"memory-mib", required_argument, nullptr, 'm'},
                          {"vcpus", required_argument, nullptr, 'v'},
                          {"runs", required_argument, nullptr, 'r'},
                          {}};
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    if (letter == 'm') options.memory_mib = ParseNumber(optarg, 3072);
    if (letter == 'v') options.vcpus = ParseNumber(optarg, 8);
    if (letter == 'r') options.runs = ParseNumber(optarg, 1'000'000);
    if (letter == '?') ShowUsage();
  }
  if (optind != argc) ShowUsage();
  return options;
}

void PrintNumbers(const char* name, const std::vector<Floor>& floors, double Floor::*number) {
  std::printf(",\"%s\":[", name);
  for (const Floor& floor : floors) std::printf("%s%.3f", &floor == &floors.front() ? "" : ",", floor.*number);
  std::printf("]");
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  const Shape shape{size_t{options.memory_mib} << 20, options.vcpus};
  Kvm kvm;
  State state = MakeState(kvm, shape);
  std::vector<Floor> floors;
  for (uint32_t i = 0; i < options.runs; ++i) floors.push_back(MeasureOnce(kvm, shape, state));
  std::printf("{\"memory_mib\":%u,\"vcpus\":%u", options.memory_mib, options.vcpus);
  PrintNumbers("floor_ms", floors, &Floor::whole_ms);
  PrintNumbers("prepared_floor_ms", floors, &Floor::prepared_ms);
  std::printf("}\n");
  return std::fflush(stdout) == 0 ? 0 : 1;
}
