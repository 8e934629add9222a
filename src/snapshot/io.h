// Positioned reads and writes of whole ranges; the descriptor's position is left alone.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace snapfaas::snapshot {

// `what` names the file in errors.

// kCorrupt when the file ends within the range.
Status ReadAt(int fd, uint64_t offset, std::span<uint8_t> to, std::string_view what);
// kResourceExhausted when the disk is full.
Status WriteAt(int fd, uint64_t offset, std::span<const uint8_t> from, std::string_view what);
// kCorrupt when it is not a regular file.
Result<uint64_t> SizeOf(int fd, std::string_view what);
Status SetSize(int fd, uint64_t size, std::string_view what);

}  // namespace snapfaas::snapshot
