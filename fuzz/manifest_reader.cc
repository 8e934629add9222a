// Any bytes as a snapshot's manifest. What is accepted must be encoded to the same text again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "snapshot/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = snapfaas::snapshot::DecodeManifest(text);
  if (manifest && snapfaas::snapshot::EncodeManifest(*manifest) != text) std::abort();
  return 0;
}
