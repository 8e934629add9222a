// The kernel proper, an ELF file, out of a bzImage: a VMM that loads it saves the guest from unpacking it, and knows
// which pages of the guest still hold what it loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace snapfaas::images {

// Takes the payload that the setup header names (Linux, Documentation/x86/boot.rst, "payload_offset") and unpacks it.
// Debian compresses by LZ4's legacy frame format. kIncompatible: another compression; kCorrupt: anything else.
Result<std::string> ExtractVmlinux(std::span<const uint8_t> bzimage);

// One LZ4 block (LZ4 Block Format Description), appended to `output`, which grows by `limit` bytes at most. Matches may
// reach back no further than the block's own output.
Status DecodeLz4Block(std::span<const uint8_t> block, size_t limit, std::string& output);

}  // namespace snapfaas::images
