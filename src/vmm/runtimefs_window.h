// RuntimefsWindow: where the guest sees its root file system, as memory that it can read only. All microVMs of a host
// that are given the same image share its pages, in pages of 2 MiB where the image's file has them.
#pragma once

#include <cstdint>
#include <span>

#include "base/mapped_region.h"
#include "base/result.h"

namespace snapfaas::vmm {

class RuntimefsWindow {
 public:
  // Address space only; it reads as zeroes.
  static Result<RuntimefsWindow> Create();

  // Puts the image at the window's start and returns the size of the device: the image's, up to the next whole
  // granule. kInvalidArgument: not a regular file, or larger than the window.
  Result<uint64_t> Map(int image_fd);

  // Brings the mapped image into the host's page tables.
  void Populate();

  // For KVM's memory slot.
  std::span<uint8_t> bytes() const { return region_.bytes(); }

 private:
  explicit RuntimefsWindow(MappedRegion region) : region_(std::move(region)) {}

  MappedRegion region_;
  uint64_t image_bytes_ = 0;
};

}  // namespace snapfaas::vmm
