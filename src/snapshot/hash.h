// The checksums of snapshots: XXH3. They find damage; they are no defence against a forger.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace snapfaas::snapshot {

// XXH3-64.
uint64_t Hash64(std::span<const uint8_t> bytes);

// XXH3-128 as 32 hexadecimal digits: names what a snapshot was made from.
std::string IdentityHash(std::string_view identification);

}  // namespace snapfaas::snapshot
