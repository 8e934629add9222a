// Any bytes as a message on the control socket, without descriptors. What is accepted must be encoded to the same bytes
// again.
#include <cstdint>
#include <utility>
#include <vector>

#include "require.h"
#include "wire/messages.h"

using snapfaas::fuzz::Require;
namespace wire = snapfaas::wire;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  if (auto command = wire::DecodeCommand({bytes, {}}); command) {
    Require(wire::EncodeCommand(std::move(*command)).bytes == bytes, "a command is encoded to the same bytes");
  }
  if (const auto event = wire::DecodeEvent({bytes, {}}); event) {
    Require(wire::EncodeEvent(*event).bytes == bytes, "an event is encoded to the same bytes");
  }
  return 0;
}
