#include "images/vmlinux.h"

#include <archive.h>
#include <archive_entry.h>

#include <cstdint>
#include <cstring>
#include <memory>

namespace snapfaas::images {
namespace {

// Offsets in the setup header.
constexpr size_t kSetupSects = 0x1f1;
constexpr size_t kSetupMagicOffset = 0x202;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;
constexpr size_t kHeaderEnd = 0x250;
constexpr size_t kSector = 512;
constexpr size_t kMaxKernel = size_t{512} << 20;

uint32_t LoadU32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

Result<std::string_view> FindPayload(std::string_view bzimage) {
  if (bzimage.size() < kHeaderEnd || bzimage.substr(kSetupMagicOffset, 4) != "HdrS") {
    return Fail(ErrorCode::kCorrupt, "the kernel is no bzImage");
  }
  // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4." One more is the boot
  // sector.
  const auto setup_sects = static_cast<uint8_t>(bzimage[kSetupSects]);
  const size_t start = ((setup_sects == 0 ? 4u : setup_sects) + size_t{1}) * kSector + LoadU32(bzimage, kPayloadOffset);
  const size_t length = LoadU32(bzimage, kPayloadLength);
  if (start > bzimage.size() || length > bzimage.size() - start || length < sizeof(uint32_t)) {
    return Fail(ErrorCode::kCorrupt, "the kernel's bzImage is shorter than its header says");
  }
  return bzimage.substr(start, length);
}

// The first `size` bytes that the compressed stream yields.
Result<std::string> Decompress(std::string_view stream, size_t size) {
  const std::unique_ptr<archive, decltype(&::archive_read_free)> reader(::archive_read_new(), &::archive_read_free);
  ::archive_read_support_filter_all(reader.get());
  ::archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  std::string unpacked(size, '\0');
  la_ssize_t got = -1;
  if (::archive_read_open_memory(reader.get(), stream.data(), stream.size()) == ARCHIVE_OK &&
      ::archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    got = ::archive_read_data(reader.get(), unpacked.data(), unpacked.size());
  }
  if (got != static_cast<la_ssize_t>(size)) {
    const char* reason = ::archive_error_string(reader.get());
    return Fail(ErrorCode::kCorrupt, "the kernel does not unpack to the {} bytes that it claims: {}", size,
                reason == nullptr ? "it ends too soon" : reason);
  }
  return unpacked;
}

}  // namespace

Result<std::string> ExtractVmlinux(std::string_view bzimage) {
  auto payload = FindPayload(bzimage);
  if (!payload) return Forward(payload.error());
  // The kernel's build puts the unpacked size after the compressed stream.
  const std::string_view stream = payload->substr(0, payload->size() - sizeof(uint32_t));
  const size_t size = LoadU32(*payload, stream.size());
  if (size > kMaxKernel) return Fail(ErrorCode::kCorrupt, "the kernel claims to unpack to {} bytes", size);
  auto vmlinux = Decompress(stream, size);
  if (!vmlinux) return Forward(vmlinux.error());
  if (!vmlinux->starts_with("\177ELF")) return Fail(ErrorCode::kCorrupt, "the kernel unpacks to no ELF file");
  return vmlinux;
}

}  // namespace snapfaas::images
