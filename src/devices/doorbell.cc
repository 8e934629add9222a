#include "devices/doorbell.h"

#include <algorithm>

namespace snapfaas::devices {

void DoorbellDevice::Read(uint64_t /*offset*/, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
}

void DoorbellDevice::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset != 0 || (data.size() != 1 && data.size() != 2 && data.size() != 4)) return;
  uint32_t value = 0;
  for (size_t i = 0; i < data.size(); ++i) value |= uint32_t{data[i]} << (8 * i);
  on_ring_(value);
}

}  // namespace snapfaas::devices
