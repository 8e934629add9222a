// KVM structures that end in an array: a 32-bit count, padding up to the entries' alignment, then the entries.
//
// The kernel's own declarations (kvm_msrs, kvm_cpuid2, kvm_msr_list) cannot be used from C++: their flexible arrays are
// wrapped in a struct that is empty in C and one byte long in C++, which shifts the entries and, as request numbers
// hold the size of their argument, changes the requests. Both are spelled out here as C has them.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace snapfaas::kvm {

template <typename Entry, size_t kHeaderBytes>
class FlexibleArray {
 public:
  explicit FlexibleArray(size_t count) : storage_((kHeaderBytes + count * sizeof(Entry) + 7) / 8) {
    *count_field() = static_cast<uint32_t>(count);
  }
  void* data() { return storage_.data(); }
  uint32_t count() { return *count_field(); }
  Entry* entries() { return reinterpret_cast<Entry*>(reinterpret_cast<std::byte*>(storage_.data()) + kHeaderBytes); }

 private:
  uint32_t* count_field() { return reinterpret_cast<uint32_t*>(storage_.data()); }

  std::vector<uint64_t> storage_;
};

inline constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);
inline constexpr unsigned long kGetMsrIndexList = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, 4);
inline constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, 8);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);

// kvm_xsave has such a tail too.
inline constexpr size_t kXsaveBytes = 4096;
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, kXsaveBytes);
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, kXsaveBytes);
inline constexpr unsigned long kGetXsave2 = _IOC(_IOC_READ, KVMIO, 0xcf, kXsaveBytes);

}  // namespace snapfaas::kvm
