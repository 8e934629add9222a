// Any bytes as a snapshot's state file: decoded as they are, and once more with size and checksum made right, so that
// the fuzzer gets past them. What is accepted must be encoded to the same bytes again.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "snapshot/format.h"
#include "snapshot/hash.h"

namespace {

using snapfaas::snapshot::DecodeState;
using snapfaas::snapshot::EncodeState;
using snapfaas::snapshot::Hash64;

constexpr size_t kSizeAt = 16;
constexpr size_t kHeaderBytes = 80;

void Check(const std::vector<uint8_t>& bytes) {
  const auto state = DecodeState(bytes);
  if (!state) return;
  const auto again = EncodeState(*state);
  if (!again || *again != bytes) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  Check(bytes);
  if (size < kHeaderBytes) return 0;
  const uint64_t length = size;
  std::memcpy(bytes.data() + kSizeAt, &length, sizeof(length));
  const uint64_t checksum = Hash64(std::span<const uint8_t>(bytes).first(size - sizeof(checksum)));
  std::memcpy(bytes.data() + size - sizeof(checksum), &checksum, sizeof(checksum));
  Check(bytes);
  return 0;
}
