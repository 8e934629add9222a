// The kernel's KVM interface (Documentation/virt/kvm/api.rst), as objects that own what they open.
//
// Kvm is the device, Vm (vm.h) a virtual machine, Vcpu (vcpu.h) one of its processors.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas::kvm {

class Vm;

class Kvm {
 public:
  // kNotFound, kPermissionDenied or kUnavailable, each with its mend.
  static Result<Kvm> Open(const char* path = "/dev/kvm");

  Result<Vm> CreateVm() const;

  // KVM_CHECK_EXTENSION: 0 where the capability is missing.
  int CheckExtension(unsigned long capability) const;

  Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() const;

  // The model-specific registers that make up a vCPU's state on this host.
  Result<std::vector<uint32_t>> MsrIndices() const;

  // Size of the area that KVM_RUN shares with user space.
  size_t vcpu_mmap_size() const { return vcpu_mmap_size_; }

 private:
  Kvm(UniqueFd fd, size_t vcpu_mmap_size) : fd_(std::move(fd)), vcpu_mmap_size_(vcpu_mmap_size) {}

  UniqueFd fd_;
  size_t vcpu_mmap_size_;
};

}  // namespace snapfaas::kvm
