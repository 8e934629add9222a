#include "host/bzimage.h"

#include <cstdint>
#include <cstring>

namespace snapfaas::host {
namespace {

constexpr size_t kSetupSects = 0x1f1;
constexpr size_t kMagic = 0x202;
constexpr size_t kVersion = 0x206;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;
constexpr size_t kHeaderEnd = 0x250;

template <typename T>
T ReadAt(std::string_view image, size_t offset) {
  T value{};
  std::memcpy(&value, image.data() + offset, sizeof(value));
  return value;
}

}  // namespace

Result<std::string_view> BzImagePayload(std::string_view image) {
  constexpr uint16_t kFirstVersionWithPayload = 0x0208;
  constexpr size_t kSector = 512;
  if (image.size() < kHeaderEnd || image.substr(kMagic, 4) != "HdrS" ||
      ReadAt<uint16_t>(image, kVersion) < kFirstVersionWithPayload) {
    return Fail(ErrorCode::kCorrupt, "the kernel is no bzImage");
  }
  // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4." One more is the boot
  // sector.
  const size_t setup_sects = ReadAt<uint8_t>(image, kSetupSects);
  const size_t protected_mode = ((setup_sects == 0 ? 4 : setup_sects) + 1) * kSector;
  const size_t start = protected_mode + ReadAt<uint32_t>(image, kPayloadOffset);
  const size_t length = ReadAt<uint32_t>(image, kPayloadLength);
  if (start > image.size() || length > image.size() - start) {
    return Fail(ErrorCode::kCorrupt, "the kernel's bzImage is shorter than its header says");
  }
  return image.substr(start, length);
}

}  // namespace snapfaas::host
