#include "devices/power.h"

#include <algorithm>

namespace snapfaas::devices {
namespace {

constexpr uint64_t kSleepControlOffset = kSleepControlPort - kPowerPort;
constexpr uint64_t kResetOffset = kResetPort - kPowerPort;

constexpr unsigned SleepType(uint8_t sleep_control) { return (sleep_control >> 2) & 7u; }

}  // namespace

void PowerControl::Read(uint64_t /*offset*/, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
}

void PowerControl::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (data.size() != 1) return;
  if (offset == kSleepControlOffset && (data[0] & kSleepEnable) != 0 && SleepType(data[0]) == kSleepTypeS5) {
    on_power_off_();
  } else if (offset == kResetOffset && data[0] == kResetValue) {
    on_reset_();
  }
}

void I8042::Read(uint64_t /*offset*/, std::span<uint8_t> data) { std::fill(data.begin(), data.end(), uint8_t{0}); }

void I8042::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset == 0 && data.size() == 1 && data[0] == kI8042ResetCommand) on_reset_();
}

}  // namespace snapfaas::devices
