// VirtioPmem: memory of the host that the guest sees as a persistent memory module (virtio 1.2, 5.19).
//
// The memory itself is mapped into the guest by whoever makes the device; here is what tells the driver where it is.
// A guest that may not write to it has nothing to flush, so the one request there is succeeds at once.
#pragma once

#include <array>

#include "base/coding.h"
#include "devices/virtio/device.h"
#include "memory/guest_address.h"

namespace snapfaas::devices::virtio {

struct PmemState {
  uint64_t size = 0;  // bytes

  void Encode(ByteWriter& writer) const { writer.Put(size); }
  static PmemState Decode(ByteReader& reader) { return {reader.Get<uint64_t>()}; }
  bool operator==(const PmemState&) const = default;
};

class VirtioPmem final : public VirtioDevice {
 public:
  VirtioPmem(GuestAddress start, const PmemState& state);

  std::string_view name() const override { return "virtio-pmem"; }
  DeviceType type() const override { return DeviceType::kPmem; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_max_sizes() const override;
  std::span<const uint8_t> config() const override { return config_space_; }
  Status ProcessQueue(size_t index) override;
  void Reset() override {}

  PmemState Save() const { return state_; }

 private:
  PmemState state_;
  std::array<uint8_t, 16> config_space_{};
};

}  // namespace snapfaas::devices::virtio
