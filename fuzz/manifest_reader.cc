// Any bytes as a snapshot's manifest: decoded as they are, and once more with version and checksum made right. What is
// accepted must be encoded to the same text again.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "require.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/manifest.h"

namespace {

void Check(std::string_view text) {
  const auto manifest = snapfaas::snapshot::DecodeManifest(text);
  if (!manifest) return;
  snapfaas::fuzz::Require(snapfaas::snapshot::EncodeManifest(*manifest) == text,
                          "a manifest that was accepted is encoded to the same text");
}

std::string WithVersion(std::string_view text) {
  constexpr std::string_view kKey = "\"format_version\": ";
  const size_t key = text.find(kKey);
  if (key == std::string_view::npos) return std::string(text);
  const size_t end = std::min(text.find_first_of(",\n", key), text.size());
  return fmt::format("{}{}{}", text.substr(0, key + kKey.size()), snapfaas::snapshot::kFormatVersion, text.substr(end));
}

// The last key is the checksum of the text without it (docs/snapshot_format.md).
std::string WithChecksum(std::string_view text) {
  const std::string_view before = text.substr(0, text.rfind(",\n  \"checksum\":"));
  const std::string unsigned_text = fmt::format("{}\n}}\n", before);
  const uint64_t checksum =
      snapfaas::snapshot::Hash64({reinterpret_cast<const uint8_t*>(unsigned_text.data()), unsigned_text.size()});
  return fmt::format("{},\n  \"checksum\": \"{:016x}\"\n}}\n", before, checksum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Check(text);
  Check(WithChecksum(WithVersion(text)));
  return 0;
}
