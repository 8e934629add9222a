// VirtioBlock: a read-only block device over a file (virtio 1.2, 5.2).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "devices/virtio/device.h"

namespace snapfaas::devices::virtio {

struct BlockConfig {
  UniqueFd file;                           // may be absent: the device then reads as zeroes
  std::optional<uint64_t> capacity_bytes;  // without it: the file's size. What the file does not reach reads as zeroes
  std::string id;                          // VIRTIO_BLK_T_GET_ID, up to 20 bytes
};

struct BlockState {
  uint64_t capacity_sectors = 0;  // of 512 bytes

  void Encode(ByteWriter& writer) const;
  static BlockState Decode(ByteReader& reader);
  bool operator==(const BlockState&) const = default;
};

// Reads are done at once, on the thread that serves the queue, from the file straight into guest memory.
class VirtioBlock final : public VirtioDevice {
 public:
  // With a state, the capacity is the saved one, whatever file stands behind it now.
  static Result<std::unique_ptr<VirtioBlock>> Create(BlockConfig config, const BlockState* state = nullptr);

  std::string_view name() const override { return "virtio-block"; }
  DeviceType type() const override { return DeviceType::kBlock; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_max_sizes() const override;
  std::span<const uint8_t> config() const override { return config_space_; }
  Status ProcessQueue(size_t index) override;
  void Reset() override {}

  // Puts another file behind the device; its capacity stays. Before the guest runs: Linux caches what it has read.
  void SetFile(UniqueFd file);

  BlockState Save() const;

 private:
  VirtioBlock(UniqueFd file, uint64_t capacity_sectors, const std::string& id);
  // Both return the status byte (5.2.6). `written`: bytes put at the start of the writable part.
  uint8_t Serve(DescriptorChain& chain, uint64_t data_bytes, uint64_t& written);
  uint8_t ReadSectors(const DescriptorChain& chain, uint64_t sector, uint64_t length, uint64_t& written);

  UniqueFd file_;
  uint64_t capacity_sectors_;
  std::array<uint8_t, 20> id_{};
  std::array<uint8_t, 16> config_space_{};
  std::vector<iovec> segments_;  // of the request at hand
};

}  // namespace snapfaas::devices::virtio
