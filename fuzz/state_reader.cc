// Any bytes as a snapshot's state file: decoded as they are, and once more with beginning, size and checksum made
// right, so that the fuzzer gets past them. What is accepted must be encoded to the same bytes again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "require.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"

namespace {

using snapfaas::fuzz::Require;
using snapfaas::snapshot::DecodeState;
using snapfaas::snapshot::EncodeState;
using snapfaas::snapshot::Hash64;

// What a state file begins with, and where its size stands: read off one that the library has written.
class Frame {
 public:
  Frame() {
    snapfaas::snapshot::StateFile small;
    small.machine.memory_bytes = snapfaas::kPageSize;
    small.machine.vcpus = 1;
    const auto bytes = EncodeState(small);
    Require(bytes.has_value(), "the smallest state can be encoded");
    const size_t version_at = Find(*bytes, snapfaas::snapshot::kFormatVersion);
    beginning_.assign(bytes->begin(), bytes->begin() + static_cast<ptrdiff_t>(version_at + sizeof(uint32_t)));
    size_at_ = Find(*bytes, uint64_t{bytes->size()});
    std::vector<uint8_t> again = *bytes;
    MakeRight(again);
    Require(again == *bytes, "a state ends in the checksum of what is before it");
  }

  bool Fits(size_t size) const { return size >= size_at_ + sizeof(uint64_t) + sizeof(uint64_t); }

  // REQUIRES: Fits(bytes.size()).
  void MakeRight(std::vector<uint8_t>& bytes) const {
    std::copy(beginning_.begin(), beginning_.end(), bytes.begin());
    Put(bytes, size_at_, bytes.size());
    const size_t checksum_at = bytes.size() - sizeof(uint64_t);
    Put(bytes, checksum_at, Hash64(std::span<const uint8_t>(bytes).first(checksum_at)));
  }

 private:
  template <typename T>
  static size_t Find(const std::vector<uint8_t>& bytes, T value) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    const auto found = std::search(bytes.begin(), bytes.end(), raw, raw + sizeof(value));
    Require(found != bytes.end(), "the header has version and size");
    return static_cast<size_t>(found - bytes.begin());
  }

  static void Put(std::vector<uint8_t>& bytes, size_t at, uint64_t value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  }

  std::vector<uint8_t> beginning_;
  size_t size_at_ = 0;
};

void Check(const std::vector<uint8_t>& bytes) {
  const auto state = DecodeState(bytes);
  if (!state) return;
  const auto again = EncodeState(*state);
  Require(again && *again == bytes, "a state that was accepted is encoded to the same bytes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Frame frame;
  std::vector<uint8_t> bytes(data, data + size);
  Check(bytes);
  if (!frame.Fits(size)) return 0;
  frame.MakeRight(bytes);
  Check(bytes);
  return 0;
}
