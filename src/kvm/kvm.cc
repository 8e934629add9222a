#include "kvm/kvm.h"

#include <fcntl.h>

#include <cerrno>

#include "kvm/flexible_array.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu_state.h"
#include "kvm/vm.h"

namespace snapfaas::kvm {
namespace {

constexpr uint32_t kMaxCpuidEntries = 256;

}  // namespace

Result<Kvm> Kvm::Open(const char* path) {
  UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return FailErrno(errno, "opening {} ('snapfaas doctor' says what this machine lacks)", path);
  const int version = Ioctl(fd.get(), KVM_GET_API_VERSION);
  if (version != KVM_API_VERSION) {
    return Fail(ErrorCode::kUnavailable, "{} speaks KVM API version {}, not {}", path, version, KVM_API_VERSION);
  }
  const int mmap_size = Ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE);
  if (mmap_size < static_cast<int>(sizeof(kvm_run))) {
    return FailErrno(errno, "asking {} for the size of a vCPU's shared area", path);
  }
  return Kvm(std::move(fd), static_cast<size_t>(mmap_size));
}

Result<Vm> Kvm::CreateVm() const {
  UniqueFd vm(Ioctl(fd_.get(), KVM_CREATE_VM));
  if (!vm.valid()) return FailErrno(errno, "creating a KVM virtual machine");
  return Vm(std::move(vm), vcpu_mmap_size_);
}

int Kvm::CheckExtension(unsigned long capability) const {
  const int value = Ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

Result<std::vector<kvm_cpuid_entry2>> Kvm::SupportedCpuid() const {
  FlexibleArray<kvm_cpuid_entry2, 8> cpuid(kMaxCpuidEntries);
  if (Ioctl(fd_.get(), kGetSupportedCpuid, cpuid.data()) < 0) {
    return FailErrno(errno, "asking KVM for the CPUID it supports");
  }
  return std::vector<kvm_cpuid_entry2>(cpuid.entries(), cpuid.entries() + cpuid.count());
}

Result<std::vector<uint32_t>> Kvm::MsrIndices() const {
  FlexibleArray<uint32_t, 4> list(kMaxMsrs);
  if (Ioctl(fd_.get(), kGetMsrIndexList, list.data()) < 0) {
    return FailErrno(errno, "asking KVM for its list of MSRs");
  }
  return std::vector<uint32_t>(list.entries(), list.entries() + list.count());
}

}  // namespace snapfaas::kvm
