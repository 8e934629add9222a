// The kernel proper, an ELF file, out of a bzImage: a VMM that loads it saves the guest from unpacking it, and knows
// which pages of the guest still hold what it loaded. QEMU starts it too, at its PVH entry.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace snapfaas::images {

// Takes the payload that the setup header names (Linux, Documentation/arch/x86/boot.rst, "payload_offset") and unpacks
// it, whatever libarchive knows: Debian compresses its cloud kernel by LZ4, its common one by XZ. kCorrupt: anything
// but a whole bzImage that holds an ELF file.
Result<std::string> ExtractVmlinux(std::string_view bzimage);

}  // namespace snapfaas::images
