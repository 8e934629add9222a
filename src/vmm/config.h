// The shape of a microVM, fixed when its shell is made.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace snapfaas::vmm {

struct Config {
  uint64_t memory_bytes = 0;
  uint32_t vcpus = 1;

  // kInvalidArgument with what is allowed.
  Status Check() const;
};

}  // namespace snapfaas::vmm
