// KVM structures that end in an array: a 32-bit count, padding up to the entries' alignment, then the entries.
//
// The kernel's own declarations (kvm_msrs, kvm_cpuid2, kvm_msr_list) cannot be used from C++: their flexible arrays are
// wrapped in a struct that is empty in C and one byte long in C++, which shifts the entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

}  // namespace snapfaas::kvm
