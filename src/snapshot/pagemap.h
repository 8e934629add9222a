// Pagemap: what the kernel says of the pages behind a mapping of this process, from /proc/self/pagemap (proc(5)).
//
// Looking costs no fault. Where the kernel does not tell, every page counts as touched and private.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/unique_fd.h"

namespace snapfaas::snapshot {

class Pagemap {
 public:
  explicit Pagemap(const uint8_t* base);

  // Looks at `count` pages from `page` on.
  void Load(uint64_t page, size_t count);

  // Of page `index` of those loaded. Touched: it is in the page tables, or swapped out.
  bool Touched(size_t index) const { return (entries_[index] & (kPresent | kSwapped)) != 0; }
  // Touched, and of this mapping alone: in a private mapping of a file, a page that was written.
  bool Private(size_t index) const { return Touched(index) && (entries_[index] & kFileOrShared) == 0; }

 private:
  static constexpr uint64_t kPresent = uint64_t{1} << 63;
  static constexpr uint64_t kSwapped = uint64_t{1} << 62;
  static constexpr uint64_t kFileOrShared = uint64_t{1} << 61;

  UniqueFd pagemap_;
  uint64_t first_;
  std::vector<uint64_t> entries_;
};

}  // namespace snapfaas::snapshot
