// ImageWindow: where the guest sees a file system image as memory that it can read only. All microVMs of a host that
// are given the same image share its pages, in pages of 2 MiB where the image's file has them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/mapped_region.h"
#include "base/result.h"

namespace snapfaas::vmm {

class ImageWindow {
 public:
  // Address space of `size` bytes, no more; it reads as zeroes. `what` names the image in errors.
  static Result<ImageWindow> Create(uint64_t size, std::string_view what);

  // Puts the image at the window's start; behind it the window reads as zeroes. REQUIRES: nothing is mapped yet.
  // kInvalidArgument: not a regular file, or larger than the window.
  Status Map(int image_fd);

  // Brings the mapped image into the host's page tables.
  void Populate();

  // 0: nothing is mapped.
  uint64_t image_bytes() const { return image_bytes_; }

  // For KVM's memory slot.
  std::span<uint8_t> bytes() const { return region_.bytes(); }

 private:
  ImageWindow(MappedRegion region, std::string_view what) : region_(std::move(region)), what_(what) {}

  MappedRegion region_;
  std::string_view what_;
  uint64_t image_bytes_ = 0;
};

}  // namespace snapfaas::vmm
