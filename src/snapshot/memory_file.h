// Files in memory (memfd_create(2)) that hold a snapshot: once they are sealed nobody can change them, whoever has
// their descriptors.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas::snapshot {

// An empty one; `name` shows in /proc.
Result<UniqueFd> MakeMemfd(const char* name);

// From now on it can neither be written nor change its size.
Status SealMemfd(int fd);

// A sealed one with these bytes.
Result<UniqueFd> MakeSealed(const char* name, std::span<const uint8_t> bytes);

// Makes huge pages of the file's pages in [offset, offset + size), whatever the system's setting is for others. Advice:
// a host that cannot goes on with small pages. REQUIRES: multiples of kHugePageSize.
void Collapse(int fd, uint64_t offset, uint64_t size);

}  // namespace snapfaas::snapshot
