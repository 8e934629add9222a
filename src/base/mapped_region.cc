#include "base/mapped_region.h"

#include <cerrno>

namespace snapfaas {

Result<MappedRegion> MappedRegion::Anonymous(size_t size, size_t alignment) {
  // The kernel aligns to pages only: take more, and give back what lies before and behind.
  const size_t slack = alignment - kPageSize;
  void* data =
      ::mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return FailErrno(errno, "mapping {} bytes of memory", size);
  auto* start = static_cast<uint8_t*>(data);
  const size_t before = (alignment - reinterpret_cast<uintptr_t>(start) % alignment) % alignment;
  if (before > 0) ::munmap(start, before);
  if (slack > before) ::munmap(start + before + size, slack - before);
  return MappedRegion(start + before, size);
}

Result<MappedRegion> MappedRegion::OfFile(int fd, uint64_t offset, size_t size, int prot, int flags) {
  void* data = ::mmap(nullptr, size, prot, flags, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return FailErrno(errno, "mapping {} bytes of a file", size);
  return MappedRegion(static_cast<uint8_t*>(data), size);
}

Status MappedRegion::ReplaceStart(int fd, size_t size, int prot, int flags) {
  void* data = ::mmap(data_, size, prot, flags | MAP_FIXED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) return FailErrno(errno, "mapping {} bytes of a file", size);
  return {};
}

}  // namespace snapfaas
