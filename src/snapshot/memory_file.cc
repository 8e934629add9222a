#include "snapshot/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/mapped_region.h"
#include "base/units.h"
#include "snapshot/io.h"

namespace snapfaas::snapshot {
namespace {

// linux/mman.h; glibc 2.36 does not have it. Linux 6.1.
constexpr int kMadvCollapse = 25;

}  // namespace

Result<UniqueFd> MakeMemfd(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FailErrno(errno, "making a file in memory for a snapshot");
  return fd;
}

Status SealMemfd(int fd) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0) return FailErrno(errno, "sealing a snapshot in memory");
  return {};
}

Result<UniqueFd> MakeSealed(const char* name, std::span<const uint8_t> bytes) {
  auto file = MakeMemfd(name);
  if (!file) return file;
  auto done = WriteAt(file->get(), 0, bytes, name);
  if (done) done = SealMemfd(file->get());
  if (!done) return Forward(done.error());
  return file;
}

// It is asked for on a private view: the file is sealed.
void Collapse(int fd, uint64_t offset, uint64_t size) {
  auto view = MappedRegion::Anonymous(size, kHugePageSize);
  if (!view) return;
  void* mapped =
      ::mmap(view->data(), size, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return;
  // One by one: Linux 6.1 ends a call for several at the first that it cannot map into this view, collapsed though it
  // is.
  for (uint64_t at = 0; at < size; at += kHugePageSize) ::madvise(view->data() + at, kHugePageSize, kMadvCollapse);
}

}  // namespace snapfaas::snapshot
