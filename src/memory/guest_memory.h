// The RAM of one microVM: guest-physical addresses [0, size), one contiguous mapping of the VMM.
//
// Every access names a guest address and a length and is checked against the range; a failed check is a guest error,
// never a fault of the VMM. Bytes are copied out before they are parsed: the guest may change them at any time.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "base/mapped_region.h"
#include "base/result.h"
#include "memory/guest_address.h"

namespace snapfaas {

class GuestMemory {
 public:
  // Zeroed memory of `size` bytes. REQUIRES: size is a multiple of kPageSize.
  static Result<GuestMemory> Create(uint64_t size);

  uint64_t size() const { return region_.size(); }

  Status Read(GuestAddress from, std::span<uint8_t> to) const;
  Status Write(GuestAddress to, std::span<const uint8_t> from);

  template <typename T>
  requires(std::is_trivially_copyable_v<T>) Result<T> ReadObject(GuestAddress from)
  const {
    T value{};
    auto read = Read(from, {reinterpret_cast<uint8_t*>(&value), sizeof(T)});
    if (!read) return Forward(read.error());
    return value;
  }
  template <typename T>
  requires(std::is_trivially_copyable_v<T>) Status WriteObject(GuestAddress to, const T& value) {
    return Write(to, {reinterpret_cast<const uint8_t*>(&value), sizeof(T)});
  }

  // The index fields of virtqueues, shared with a running guest: aligned 16-bit loads with acquire and stores with
  // release order (virtio 1.2, 2.7.13).
  Result<uint16_t> LoadAcquire16(GuestAddress from) const;
  Status StoreRelease16(GuestAddress to, uint16_t value);

  // A range to hand to readv(2) and the like, which copy; not for parsing in place.
  Result<std::span<uint8_t>> Slice(GuestAddress from, uint64_t length) const;

  // Puts a private copy-on-write view of the file in place of the memory; the address in the VMM stays.
  // REQUIRES: the file holds at least size() bytes.
  Status MapPrivateImage(int fd) { return region_.ReplaceWithPrivateView(fd); }

  uint8_t* host_base() const { return region_.data(); }

 private:
  explicit GuestMemory(MappedRegion region) : region_(std::move(region)) {}

  MappedRegion region_;
};

}  // namespace snapfaas
