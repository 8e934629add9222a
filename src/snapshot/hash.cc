#include "snapshot/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace snapfaas::snapshot {

uint64_t Hash64(std::span<const uint8_t> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string IdentityHash(std::string_view identification) {
  const XXH128_hash_t hash = XXH3_128bits(identification.data(), identification.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace snapfaas::snapshot
