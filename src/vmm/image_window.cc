#include "vmm/image_window.h"

#include <sys/stat.h>

#include <cerrno>

namespace snapfaas::vmm {

Result<ImageWindow> ImageWindow::Create(uint64_t size, std::string_view what) {
  auto region = MappedRegion::Anonymous(size, kHugePageSize);
  if (!region) return Forward(region.error());
  if (::mprotect(region->data(), region->size(), PROT_READ) != 0) {
    return FailErrno(errno, "protecting the address range of the {} image", what);
  }
  return ImageWindow(std::move(*region), what);
}

Status ImageWindow::Map(int image_fd) {
  struct stat info {};
  if (::fstat(image_fd, &info) != 0) return FailErrno(errno, "looking at the {} image", what_);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size == 0 || size > region_.size()) {
    return Fail(ErrorCode::kInvalidArgument, "the {} image is not a regular file of 1 to {} bytes", what_,
                region_.size());
  }
  auto mapped = region_.ReplaceStart(image_fd, size, PROT_READ, MAP_SHARED);
  if (!mapped) return Forward(mapped.error(), fmt::format("the {} image", what_));
  image_bytes_ = size;
  return {};
}

void ImageWindow::Populate() { ::madvise(region_.data(), image_bytes_, MADV_POPULATE_READ); }

}  // namespace snapfaas::vmm
