#include "memory/guest_memory.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/units.h"

namespace snapfaas {

Result<GuestMemory> GuestMemory::Create(uint64_t size) {
  if (size == 0 || size % kPageSize != 0) {
    return Fail(ErrorCode::kInvalidArgument, "a memory size of {} bytes is not a whole number of pages", size);
  }
  // KVM maps 2 MiB at once where the host does and both addresses are aligned alike: hundreds of times fewer faults.
  auto region = MappedRegion::Anonymous(size, kHugePageSize);
  if (!region) return Forward(region.error());
  // Advice only: a host without huge pages runs the guest as well, slower.
  ::madvise(region->data(), region->size(), MADV_HUGEPAGE);
  return GuestMemory(std::move(*region));
}

Result<std::span<uint8_t>> GuestMemory::Slice(GuestAddress from, uint64_t length) const {
  const uint64_t start = from.value();
  if (start > size() || length > size() - start) {
    return Fail(ErrorCode::kGuestError, "guest range {:#x}+{:#x} lies outside its memory of {:#x} bytes", start, length,
                size());
  }
  return region_.bytes().subspan(start, length);
}

Status GuestMemory::MapPrivatePages(int fd, uint64_t file_page, const PageRun& run) {
  auto slice = Slice(GuestAddress(run.offset()), run.bytes());
  if (!slice) return Forward(slice.error());
  void* data = ::mmap(slice->data(), slice->size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                      static_cast<off_t>(file_page * kPageSize));
  if (data == MAP_FAILED) return FailErrno(errno, "mapping {} pages of guest memory", run.pages);
  return {};
}

Status GuestMemory::TakePages(const MappedRegion& from, uint64_t from_page, const PageRun& run) {
  auto slice = Slice(GuestAddress(run.offset()), run.bytes());
  if (!slice) return Forward(slice.error());
  uint8_t* pages = from.bytes().subspan(from_page * kPageSize, run.bytes()).data();
  // The range stays `from`'s own, so that nothing else of the process comes to lie in it.
  constexpr int kFlags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  if (::mremap(pages, run.bytes(), run.bytes(), kFlags, slice->data()) == MAP_FAILED) {
    return FailErrno(errno, "moving {} pages into guest memory", run.pages);
  }
  return {};
}

// Linux does not fault around in memory whose write-protection somebody could wait for; nothing is protected here, so
// nobody waits and no fault is held up. Linux 5.19.
Result<UniqueFd> GuestMemory::BringInSinglePages() {
  UniqueFd watcher(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  if (!watcher.valid()) return FailErrno(errno, "opening a userfaultfd");
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
  if (::ioctl(watcher.get(), UFFDIO_API, &api) != 0) return FailErrno(errno, "setting up a userfaultfd");
  uffdio_register range{};
  range.range = {reinterpret_cast<uintptr_t>(region_.data()), region_.size()};
  range.mode = UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(watcher.get(), UFFDIO_REGISTER, &range) != 0) {
    return FailErrno(errno, "registering guest memory with a userfaultfd");
  }
  return watcher;
}

Status GuestMemory::DropPages() {
  if (::madvise(region_.data(), region_.size(), MADV_DONTNEED) != 0) return FailErrno(errno, "dropping guest memory");
  return {};
}

Status GuestMemory::DropPages(const PageRun& run) {
  auto slice = Slice(GuestAddress(run.offset()), run.bytes());
  if (!slice) return Forward(slice.error());
  if (::madvise(slice->data(), slice->size(), MADV_DONTNEED) != 0) return FailErrno(errno, "dropping guest memory");
  return {};
}

void GuestMemory::Populate(const PageRun& run, PageAccess access) {
  auto slice = Slice(GuestAddress(run.offset()), run.bytes());
  if (!slice) return;
  // Linux 5.14; an older kernel knows neither, and the pages come by faults.
  ::madvise(slice->data(), slice->size(), access == PageAccess::kWrite ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

Status GuestMemory::Read(GuestAddress from, std::span<uint8_t> to) const {
  auto slice = Slice(from, to.size());
  if (!slice) return Forward(slice.error());
  if (!to.empty()) std::memcpy(to.data(), slice->data(), to.size());
  return {};
}

Status GuestMemory::Write(GuestAddress to, std::span<const uint8_t> from) {
  auto slice = Slice(to, from.size());
  if (!slice) return Forward(slice.error());
  if (!from.empty()) std::memcpy(slice->data(), from.data(), from.size());
  return {};
}

Result<uint16_t> GuestMemory::LoadAcquire16(GuestAddress from) const {
  if (from.value() % 2 != 0) return Fail(ErrorCode::kGuestError, "guest index at {:#x} is not aligned", from.value());
  auto slice = Slice(from, 2);
  if (!slice) return Forward(slice.error());
  return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(slice->data())).load(std::memory_order_acquire);
}

Status GuestMemory::StoreRelease16(GuestAddress to, uint16_t value) {
  if (to.value() % 2 != 0) return Fail(ErrorCode::kGuestError, "guest index at {:#x} is not aligned", to.value());
  auto slice = Slice(to, 2);
  if (!slice) return Forward(slice.error());
  std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(slice->data())).store(value, std::memory_order_release);
  return {};
}

}  // namespace snapfaas
