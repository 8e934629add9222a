// A guest-physical address. Distinct from host pointers and plain numbers, so that they cannot be swapped.
#pragma once

#include <compare>
#include <cstdint>

namespace snapfaas {

class GuestAddress {
 public:
  constexpr GuestAddress() = default;
  constexpr explicit GuestAddress(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }
  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 of a rewritten comparison is no pointer
  constexpr auto operator<=>(const GuestAddress&) const = default;

  // Wraps at 2^64 as the guest's arithmetic would; every access checks its range anyway.
  constexpr GuestAddress operator+(uint64_t offset) const { return GuestAddress(value_ + offset); }

 private:
  uint64_t value_ = 0;
};

}  // namespace snapfaas
