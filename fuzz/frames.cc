// Any bytes as the stream of a request channel, whole and in pieces. What comes out of the pieces must come out of the
// whole, and a frame that came out must come out of its own encoding.
//
// The pieces may be refused where the whole is not, as a header longer than any real one is while it has no end.
//
// The first byte is a number of piece lengths, one byte each, which follow and are used by turns; then comes the
// stream.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "require.h"
#include "wire/frame.h"

namespace {

using snapfaas::fuzz::Require;
using snapfaas::wire::Frame;
using snapfaas::wire::FrameParser;

// Small, so that frames on either side of it are small too.
constexpr size_t kMaxPayload = 1000;

struct Parsed {
  std::vector<Frame> frames;
  bool refused = false;
};

void TakeFrames(FrameParser& parser, Parsed& parsed) {
  while (!parsed.refused) {
    auto frame = parser.Next();
    parsed.refused = !frame.has_value();
    if (parsed.refused || !frame->has_value()) return;
    Require((*frame)->payload.size() <= kMaxPayload, "no payload is above the limit");
    parsed.frames.push_back(std::move(**frame));
  }
}

Parsed Parse(std::string_view stream, std::span<const uint8_t> lengths) {
  FrameParser parser(kMaxPayload);
  Parsed parsed;
  for (size_t i = 0; !stream.empty() && !parsed.refused; ++i) {
    const size_t wanted = lengths.empty() ? stream.size() : std::max<size_t>(lengths[i % lengths.size()], 1);
    const std::string_view piece = stream.substr(0, wanted);
    parser.Append(piece);
    TakeFrames(parser, parsed);
    stream.remove_prefix(piece.size());
  }
  return parsed;
}

bool IsSame(const Frame& a, const Frame& b) { return a.kind == b.kind && a.payload == b.payload; }

void CheckEncoding(const Frame& frame) {
  const std::string encoded = snapfaas::wire::EncodeFrame(frame.kind, frame.payload);
  const auto again = Parse(encoded + encoded, {});
  Require(
      !again.refused && again.frames.size() == 2 && IsSame(again.frames[0], frame) && IsSame(again.frames[1], frame),
      "a frame comes out of its own encoding, with nothing left over");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::span<const uint8_t> bytes(data + 1, size - 1);
  const auto lengths = bytes.first(std::min<size_t>(data[0], bytes.size()));
  bytes = bytes.subspan(lengths.size());
  const std::string_view stream(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const Parsed whole = Parse(stream, {});
  const Parsed pieces = Parse(stream, lengths);
  const size_t came = pieces.frames.size();
  Require(came <= whole.frames.size() &&
              std::equal(pieces.frames.begin(), pieces.frames.end(), whole.frames.begin(), IsSame),
          "what comes out of the pieces comes out of the whole");
  Require(pieces.refused || (!whole.refused && came == whole.frames.size()),
          "all that the whole gives comes out of pieces that are not refused");
  for (const Frame& frame : whole.frames) CheckEncoding(frame);
  return 0;
}
