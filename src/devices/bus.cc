#include "devices/bus.h"

#include <algorithm>

namespace snapfaas::devices {

Status Bus::Add(uint64_t base, uint64_t size, IoHandler& handler) {
  if (size == 0 || base + (size - 1) < base) {
    return Fail(ErrorCode::kInvalidArgument, "{} cannot stand at {:#x}+{:#x}: no valid range", handler.name(), base,
                size);
  }
  const auto next = std::upper_bound(ranges_.begin(), ranges_.end(), base,
                                     [](uint64_t address, const Range& range) { return address < range.base; });
  const Range* clash = nullptr;
  if (next != ranges_.end() && next->base - base < size) clash = &*next;
  if (next != ranges_.begin()) {
    const Range& before = *std::prev(next);
    if (base - before.base < before.size) clash = &before;
  }
  if (clash != nullptr) {
    return Fail(ErrorCode::kAlreadyExists, "{} at {:#x}+{:#x} overlaps {} at {:#x}+{:#x}", handler.name(), base, size,
                clash->handler->name(), clash->base, clash->size);
  }
  ranges_.insert(next, Range{base, size, &handler});
  return {};
}

const Bus::Range* Bus::Find(uint64_t address, uint64_t size) const {
  auto range = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](uint64_t wanted, const Range& other) { return wanted < other.base; });
  if (range == ranges_.begin()) return nullptr;
  --range;
  const uint64_t offset = address - range->base;
  return offset < range->size && size <= range->size - offset ? &*range : nullptr;
}

void Bus::Read(uint64_t address, std::span<uint8_t> data) const {
  const Range* range = Find(address, data.size());
  if (range == nullptr) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});
  } else {
    range->handler->Read(address - range->base, data);
  }
}

void Bus::Write(uint64_t address, std::span<const uint8_t> data) const {
  const Range* range = Find(address, data.size());
  if (range != nullptr) range->handler->Write(address - range->base, data);
}

}  // namespace snapfaas::devices
