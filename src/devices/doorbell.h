// The doorbell of the SnapFaaS poster (wire/guest_abi.h): a write by which guest code tells the VMM where it is.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/bus.h"

namespace snapfaas::devices {

// One object may stand on both buses. A write of 8, 16 or 32 bits at offset 0 rings; anything else is ignored, and
// reads yield zero.
class DoorbellDevice final : public IoHandler {
 public:
  // `on_ring` gets the value as written, which need not be one of wire::Doorbell. It runs on the vCPU thread that made
  // the access, on several at once.
  explicit DoorbellDevice(std::function<void(uint32_t value)> on_ring) : on_ring_(std::move(on_ring)) {}

  std::string_view name() const override { return "doorbell"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  std::function<void(uint32_t)> on_ring_;
};

}  // namespace snapfaas::devices
