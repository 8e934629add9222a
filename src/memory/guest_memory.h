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
#include "base/unique_fd.h"
#include "memory/guest_address.h"
#include "memory/page_run.h"

namespace snapfaas {

enum class PageAccess { kRead, kWrite };

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
  Status MapPrivateImage(int fd) {
    return region_.ReplaceStart(fd, region_.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE);
  }

  // As above, for some of the pages, from page `file_page` of the file on. kGuestError: they lie outside the memory.
  Status MapPrivatePages(int fd, uint64_t file_page, const PageRun& run);

  // Puts `run` pages of anonymous memory, from its page `from_page` on, in place of the guest's: they are moved, not
  // copied, and the guest touches them without a fault of the host. Zeroes are left in `from`. kGuestError: they lie
  // outside the memory. REQUIRES: `from` was made by MappedRegion::Anonymous and holds those pages. Linux 5.7.
  Status TakePages(const MappedRegion& from, uint64_t from_page, const PageRun& run);

  // Forgets what was written: private copies of a mapped image's pages show the image again, memory without one is
  // zeroes.
  Status DropPages();
  // As above, of some pages. kGuestError: they lie outside the memory.
  Status DropPages(const PageRun& run);

  // From now on a touched page comes alone, where the host would bring in its neighbours: what is in place then tells
  // what was touched. Until the descriptor is closed. Of a private mapping of a file in memory, on a host that can.
  Result<UniqueFd> BringInSinglePages();

  // Brings the pages into the host's page tables at once, for writing as copies of this mapping's own, so that a guest
  // that touches them does not wait for the host's memory management. Advice; pages outside the memory are left out.
  void Populate(const PageRun& run, PageAccess access);

  uint8_t* host_base() const { return region_.data(); }

 private:
  explicit GuestMemory(MappedRegion region) : region_(std::move(region)) {}

  MappedRegion region_;
};

}  // namespace snapfaas
