// VirtioRng: random bytes from the host's getrandom(2) (virtio 1.2, 5.4). It has no state of its own.
#pragma once

#include "devices/virtio/device.h"

namespace snapfaas::devices::virtio {

class VirtioRng final : public VirtioDevice {
 public:
  // As much as one request gets; the driver asks again for more.
  static constexpr size_t kMaxBytesPerRequest = 4096;

  std::string_view name() const override { return "virtio-rng"; }
  DeviceType type() const override { return DeviceType::kEntropy; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_max_sizes() const override;
  std::span<const uint8_t> config() const override { return {}; }
  Status ProcessQueue(size_t index) override;
  void Reset() override {}
};

}  // namespace snapfaas::devices::virtio
