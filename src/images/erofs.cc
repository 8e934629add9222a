#include "images/erofs.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/coding.h"
#include "base/unique_fd.h"
#include "images/files.h"

namespace snapfaas::images {
namespace {

constexpr off_t kSuperblockOffset = 1024;
constexpr uint32_t kErofsMagic = 0xE0F5E1E2;
constexpr size_t kSuperblockHead = 40;

struct Superblock {
  uint32_t magic = 0;
  uint8_t block_bits = 0;
  uint32_t blocks = 0;
};

// struct erofs_super_block: magic, checksum, feature_compat (4 bytes each), blkszbits, sb_extslots (1), root_nid (2),
// inos, build_time (8), build_time_nsec, blocks (4).
Superblock Parse(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  Superblock superblock;
  superblock.magic = reader.Get<uint32_t>();
  reader.GetBytes(8);
  superblock.block_bits = reader.Get<uint8_t>();
  reader.GetBytes(1 + 2 + 8 + 8 + 4);
  superblock.blocks = reader.Get<uint32_t>();
  return superblock;
}

}  // namespace

Status CheckErofsImage(const std::filesystem::path& image) {
  const UniqueFd fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FailErrno(errno, "cannot open the file system image {}", image.string());
  auto size = FileSize(image);
  if (!size) return Forward(size.error());
  uint8_t head[kSuperblockHead];
  const bool whole = ::pread(fd.get(), head, sizeof(head), kSuperblockOffset) == static_cast<ssize_t>(sizeof(head));
  const Superblock superblock = whole ? Parse(head) : Superblock{};
  if (superblock.magic != kErofsMagic || superblock.block_bits < 9 || superblock.block_bits > 16) {
    return Fail(ErrorCode::kCorrupt, "{} is not an erofs file system image", image.string());
  }
  const uint64_t expected = uint64_t{superblock.blocks} << superblock.block_bits;
  if (*size < expected) {
    return Fail(ErrorCode::kCorrupt, "the file system image {} is cut short: {} of {} bytes", image.string(), *size,
                expected);
  }
  return {};
}

std::vector<std::string> MkfsErofsOptions() {
  return {"-x-1", "-Enoinline_data", "-T0", "-U", "00000000-0000-0000-0000-000000000000", "--all-root"};
}

}  // namespace snapfaas::images
