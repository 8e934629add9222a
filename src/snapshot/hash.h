// The checksums of snapshots: XXH3. They find damage; they are no defence against a forger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace snapfaas::snapshot {

// XXH3-64, and its bytes in a file.
uint64_t Hash64(std::span<const uint8_t> bytes);
inline constexpr size_t kChecksumBytes = sizeof(uint64_t);

// XXH3-128 as 32 hexadecimal digits: names what a snapshot was made from.
std::string IdentityHash(std::string_view identification);

}  // namespace snapfaas::snapshot
