// MappedRegion: sole owner of a range of the address space made by mmap(2).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/result.h"
#include "base/units.h"

namespace snapfaas {

class MappedRegion {
 public:
  MappedRegion() = default;
  MappedRegion(MappedRegion&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedRegion& operator=(MappedRegion&& other) noexcept {
    if (this != &other) {
      Unmap();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  MappedRegion(const MappedRegion&) = delete;
  MappedRegion& operator=(const MappedRegion&) = delete;
  ~MappedRegion() { Unmap(); }

  // Zeroed private memory that takes no space until it is touched, at a multiple of `alignment` bytes.
  // REQUIRES: alignment is a power of two, and a page or more.
  static Result<MappedRegion> Anonymous(size_t size, size_t alignment = kPageSize);

  // `prot` and `flags` as mmap(2) takes them.
  static Result<MappedRegion> OfFile(int fd, uint64_t offset, size_t size, int prot, int flags);

  // Puts a view of the file's first `size` bytes over the start of the region, at the same address.
  // REQUIRES: size is not larger than size(), and the file is that long.
  Status ReplaceStart(int fd, size_t size, int prot, int flags);

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<uint8_t> bytes() const { return {data_, size_}; }

 private:
  MappedRegion(uint8_t* data, size_t size) : data_(data), size_(size) {}
  void Unmap() {
    if (data_ != nullptr) ::munmap(data_, size_);
    data_ = nullptr;
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace snapfaas
