#include "vmm/runtimefs_window.h"

#include <sys/stat.h>

#include <cerrno>

#include "vmm/layout.h"

namespace snapfaas::vmm {

Result<RuntimefsWindow> RuntimefsWindow::Create() {
  auto region = MappedRegion::Anonymous(kMaxRuntimefsBytes, kHugePageSize);
  if (!region) return Forward(region.error());
  if (::mprotect(region->data(), region->size(), PROT_READ) != 0) {
    return FailErrno(errno, "protecting the runtimefs's address range");
  }
  return RuntimefsWindow(std::move(*region));
}

Result<uint64_t> RuntimefsWindow::Map(int image_fd) {
  struct stat info {};
  if (::fstat(image_fd, &info) != 0) return FailErrno(errno, "looking at the runtimefs image");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size == 0 || size > kMaxRuntimefsBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the runtimefs image is not a regular file of 1 to {} bytes",
                kMaxRuntimefsBytes);
  }
  auto mapped = region_.ReplaceStart(image_fd, size, PROT_READ, MAP_SHARED);
  if (!mapped) return Forward(mapped.error(), "the runtimefs image");
  image_bytes_ = size;
  return (size + kRuntimefsGranule - 1) / kRuntimefsGranule * kRuntimefsGranule;
}

void RuntimefsWindow::Populate() { ::madvise(region_.data(), image_bytes_, MADV_POPULATE_READ); }

}  // namespace snapfaas::vmm
