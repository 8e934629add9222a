// PageRun: consecutive pages of guest memory.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace snapfaas {

struct PageRun {
  uint32_t first_page = 0;  // guest-physical address / kPageSize
  uint32_t pages = 0;

  uint64_t end() const { return uint64_t{first_page} + pages; }
  uint64_t offset() const { return first_page * kPageSize; }
  uint64_t bytes() const { return pages * kPageSize; }
  bool operator==(const PageRun&) const = default;
};

}  // namespace snapfaas
