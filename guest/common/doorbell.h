// The doorbell and the identity page, seen from inside (docs/guest_contract.md).
#pragma once

#include "wire/guest_abi.h"

namespace snapfaas::guest {

// A page of device memory, mapped through /dev/mem. Stays mapped for the life of the program.
class MmioPage {
 public:
  enum class Access { kReadOnly, kReadWrite };

  // Not mapped when /dev/mem cannot be opened or refuses the page; `address` is page-aligned.
  MmioPage(const char* dev_mem, uint64_t address, Access access);

  bool mapped() const { return page_ != nullptr; }
  volatile uint8_t* bytes() const { return page_; }

 private:
  volatile uint8_t* page_ = nullptr;
};

class DoorbellPage {
 public:
  explicit DoorbellPage(const char* dev_mem) : page_(dev_mem, wire::kDoorbellMmioBase, MmioPage::Access::kReadWrite) {}

  bool mapped() const { return page_.mapped(); }

  // Does nothing where the page could not be mapped; harmless on a machine without the doorbell.
  void Ring(wire::Doorbell value) const;

 private:
  MmioPage page_;
};

}  // namespace snapfaas::guest
