#include "images/vmlinux.h"

#include "base/coding.h"

namespace snapfaas::images {
namespace {

constexpr size_t kSetupHeader = 0x1f1;  // where setup_sects lies, and the fields after it
constexpr size_t kPayloadOffset = 0x248;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS" at 0x202
constexpr uint32_t kLegacyFrameMagic = 0x184C2102;
constexpr size_t kLegacyBlockLimit = size_t{8} << 20;
constexpr size_t kMaxKernel = size_t{512} << 20;

tl::unexpected<Error> BadBlock() { return Fail(ErrorCode::kCorrupt, "an LZ4 block of the kernel is malformed"); }

uint32_t LoadU32(std::span<const uint8_t> bytes, size_t at) {
  ByteReader reader(bytes.subspan(at));
  return reader.Get<uint32_t>();
}

// Lengths of 15 and more go on in further bytes, the last of which is not 255.
bool ExtendLength(std::span<const uint8_t>& block, size_t limit, size_t& length) {
  if (length != 15) return true;
  for (;;) {
    if (block.empty() || length > limit) return false;
    const uint8_t more = block.front();
    block = block.subspan(1);
    length += more;
    if (more != 255) return true;
  }
}

Result<std::span<const uint8_t>> FindPayload(std::span<const uint8_t> bzimage) {
  const auto corrupt = [] { return Fail(ErrorCode::kCorrupt, "the kernel is not a whole bzImage"); };
  if (bzimage.size() < kPayloadOffset + 8 || LoadU32(bzimage, 0x202) != kHeaderMagic) return corrupt();
  const size_t sectors = bzimage[kSetupHeader] == 0 ? 4 : bzimage[kSetupHeader];
  const size_t start = (sectors + 1) * 512 + LoadU32(bzimage, kPayloadOffset);
  const size_t length = LoadU32(bzimage, kPayloadOffset + 4);
  if (start > bzimage.size() || length > bzimage.size() - start || length < 8) return corrupt();
  return bzimage.subspan(start, length);
}

}  // namespace

Status DecodeLz4Block(std::span<const uint8_t> block, size_t limit, std::string& output) {
  const size_t start = output.size();
  const size_t end = start + limit;
  while (!block.empty()) {
    const uint8_t token = block.front();
    block = block.subspan(1);
    size_t literals = token >> 4;
    if (!ExtendLength(block, limit, literals) || literals > block.size() || literals > end - output.size())
      return BadBlock();
    output.append(reinterpret_cast<const char*>(block.data()), literals);
    block = block.subspan(literals);
    if (block.empty()) return {};  // the last sequence has literals only
    if (block.size() < 2) return BadBlock();
    const size_t distance = size_t{block[0]} | size_t{block[1]} << 8;
    block = block.subspan(2);
    size_t match = token & 15;
    if (!ExtendLength(block, limit, match)) return BadBlock();
    match += 4;
    if (distance == 0 || distance > output.size() - start || match > end - output.size()) return BadBlock();
    // Byte by byte: a match may overlap what it makes.
    for (; match > 0; --match) output += output[output.size() - distance];
  }
  return BadBlock();
}

Result<std::string> ExtractVmlinux(std::span<const uint8_t> bzimage) {
  auto payload = FindPayload(bzimage);
  if (!payload) return Forward(payload.error());
  // The build puts the unpacked size after the compressed stream.
  const size_t size = LoadU32(*payload, payload->size() - 4);
  std::span<const uint8_t> rest = payload->first(payload->size() - 4);
  if (LoadU32(rest, 0) != kLegacyFrameMagic) {
    return Fail(ErrorCode::kIncompatible, "the kernel is not compressed by LZ4, as Debian's is");
  }
  rest = rest.subspan(4);
  if (size > kMaxKernel) return Fail(ErrorCode::kCorrupt, "the kernel claims to unpack to {} bytes", size);
  std::string vmlinux;
  vmlinux.reserve(size);
  while (!rest.empty()) {
    if (rest.size() < 4) return BadBlock();
    const size_t block = LoadU32(rest, 0);
    rest = rest.subspan(4);
    if (block > rest.size() || vmlinux.size() > size) return BadBlock();
    if (auto decoded = DecodeLz4Block(rest.first(block), kLegacyBlockLimit, vmlinux); !decoded) {
      return Forward(decoded.error());
    }
    rest = rest.subspan(block);
  }
  if (vmlinux.size() != size || !vmlinux.starts_with("\177ELF")) {
    return Fail(ErrorCode::kCorrupt, "the kernel unpacks to {} bytes where it claims {}, or to no ELF file",
                vmlinux.size(), size);
  }
  return vmlinux;
}

}  // namespace snapfaas::images
