#include "devices/virtio/block.h"

#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/units.h"

namespace snapfaas::devices::virtio {
namespace {

constexpr uint64_t kFeatureSegMax = uint64_t{1} << 2;    // VIRTIO_BLK_F_SEG_MAX
constexpr uint64_t kFeatureReadOnly = uint64_t{1} << 5;  // VIRTIO_BLK_F_RO

constexpr uint16_t kQueueSizes[] = {128};
constexpr uint32_t kSegMax = 126;  // beside header and status

// 5.2.6
struct RequestHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(RequestHeader) == 16);
constexpr uint32_t kTypeIn = 0;
constexpr uint32_t kTypeOut = 1;
constexpr uint32_t kTypeGetId = 8;
constexpr uint8_t kStatusOk = 0;
constexpr uint8_t kStatusIoError = 1;
constexpr uint8_t kStatusUnsupported = 2;

constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kMaxCapacitySectors = uint64_t{1} << 54;  // so that byte offsets fit off_t
// A hostile guest could ask for 4 GiB in one request, and hold up everything else on the device thread.
constexpr uint64_t kMaxRequestBytes = 16_MiB;

}  // namespace

void BlockState::Encode(ByteWriter& writer) const { writer.Put(capacity_sectors); }

BlockState BlockState::Decode(ByteReader& reader) {
  BlockState state;
  state.capacity_sectors = reader.Get<uint64_t>();
  if (state.capacity_sectors > kMaxCapacitySectors) reader.MarkBad();
  return state;
}

Result<std::unique_ptr<VirtioBlock>> VirtioBlock::Create(BlockConfig config, const BlockState* state) {
  uint64_t bytes = config.capacity_bytes.value_or(0);
  if (state == nullptr && !config.capacity_bytes.has_value() && config.file.valid()) {
    struct stat status {};
    if (::fstat(config.file.get(), &status) != 0) return FailErrno(errno, "looking at the image of {}", config.id);
    if (!S_ISREG(status.st_mode)) {
      return Fail(ErrorCode::kInvalidArgument, "the image of {} is not a regular file", config.id);
    }
    bytes = static_cast<uint64_t>(status.st_size);
  }
  const uint64_t sectors =
      state != nullptr ? state->capacity_sectors : bytes / kSectorSize + (bytes % kSectorSize == 0 ? 0 : 1);
  if (sectors > kMaxCapacitySectors) {
    return Fail(ErrorCode::kInvalidArgument, "{}: a capacity of {} sectors is too large", config.id, sectors);
  }
  return std::unique_ptr<VirtioBlock>(new VirtioBlock(std::move(config.file), sectors, std::move(config.id)));
}

VirtioBlock::VirtioBlock(UniqueFd file, uint64_t capacity_sectors, const std::string& id)
    : file_(std::move(file)), capacity_sectors_(capacity_sectors) {
  std::copy_n(id.begin(), std::min(id.size(), id_.size()), id_.begin());
  // 5.2.4: le64 capacity, le32 size_max (not offered), le32 seg_max.
  std::memcpy(config_space_.data(), &capacity_sectors_, sizeof(capacity_sectors_));
  std::memcpy(config_space_.data() + 12, &kSegMax, sizeof(kSegMax));
}

uint64_t VirtioBlock::features() const { return kFeatureSegMax | kFeatureReadOnly; }

std::span<const uint16_t> VirtioBlock::queue_max_sizes() const { return kQueueSizes; }

void VirtioBlock::SetFile(UniqueFd file) {
  const std::lock_guard lock(mutex());
  file_ = std::move(file);
}

BlockState VirtioBlock::Save() const {
  const std::lock_guard lock(mutex());
  return BlockState{capacity_sectors_};
}

Status VirtioBlock::ProcessQueue(size_t index) {
  Queue* queue = host()->queue(index);
  if (queue == nullptr) return {};
  bool used = false;
  for (;;) {
    auto popped = queue->Pop();
    if (!popped) return Forward(popped.error());
    if (!popped->has_value()) break;
    DescriptorChain chain = std::move(**popped);
    if (chain.writable_bytes() == 0) {
      queue->PutBack(std::move(chain));
      return Fail(ErrorCode::kGuestError, "a block request has no room for its status");
    }
    const uint64_t data_bytes = chain.writable_bytes() - 1;
    uint64_t written = 0;
    const uint8_t status = Serve(chain, data_bytes, written);
    chain.CopyIn(data_bytes, {&status, 1});
    // 2.7.8.2: the length counts from the start of the writable part without a gap.
    if (written == data_bytes) ++written;
    queue->Return(std::move(chain), static_cast<uint32_t>(written));
    used = true;
  }
  if (used) host()->SignalUsed(index);
  return {};
}

uint8_t VirtioBlock::Serve(DescriptorChain& chain, uint64_t data_bytes, uint64_t& written) {
  RequestHeader header{};
  if (chain.CopyOut(0, {reinterpret_cast<uint8_t*>(&header), sizeof(header)}) != sizeof(header)) return kStatusIoError;
  switch (header.type) {
    case kTypeIn:
      return ReadSectors(chain, header.sector, data_bytes, written);
    case kTypeOut:
      return kStatusIoError;  // 5.2.6.2: VIRTIO_BLK_F_RO
    case kTypeGetId:
      written = chain.CopyIn(0, std::span<const uint8_t>(id_).first(std::min<size_t>(id_.size(), data_bytes)));
      return kStatusOk;
    default:
      return kStatusUnsupported;
  }
}

uint8_t VirtioBlock::ReadSectors(const DescriptorChain& chain, uint64_t sector, uint64_t length, uint64_t& written) {
  if (length % kSectorSize != 0 || length > kMaxRequestBytes || sector > capacity_sectors_ ||
      length / kSectorSize > capacity_sectors_ - sector) {
    return kStatusIoError;
  }
  uint64_t done = 0;
  while (done < length) {
    segments_.clear();
    AppendSlice(chain.writable(), done, length - done, segments_);
    const ssize_t got = file_.valid() ? ::preadv(file_.get(), segments_.data(), static_cast<int>(segments_.size()),
                                                 static_cast<off_t>(sector * kSectorSize + done))
                                      : 0;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return kStatusIoError;
    if (got == 0) {
      for (const iovec& segment : segments_) std::memset(segment.iov_base, 0, segment.iov_len);
      break;
    }
    done += static_cast<uint64_t>(got);
  }
  written = length;
  return kStatusOk;
}

}  // namespace snapfaas::devices::virtio
