// The buses of a microVM: which device answers an address. One Bus for I/O ports, one for MMIO.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace snapfaas::devices {

// What answers accesses to a range of a bus. Called on the vCPU thread that made the access, by several of them at
// once: a handler guards its own state. Widths and offsets come from the guest; any may be nonsense.
class IoHandler {
 public:
  virtual ~IoHandler() = default;

  // For logs and error messages.
  virtual std::string_view name() const = 0;

  // `offset` is from the start of the range; offset + data.size() lies within it. Read fills all of `data`.
  virtual void Read(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void Write(uint64_t offset, std::span<const uint8_t> data) = 0;
};

// Borrows its handlers. Add before the vCPUs run; Read and Write then need no lock.
class Bus {
 public:
  // An empty range, one that overlaps another, or one that wraps round is an error.
  // REQUIRES: the handler outlives the bus.
  Status Add(uint64_t base, uint64_t size, IoHandler& handler);

  // Where no single range holds the whole access, a read yields all ones and a write is ignored, as on a PC.
  void Read(uint64_t address, std::span<uint8_t> data) const;
  void Write(uint64_t address, std::span<const uint8_t> data) const;

 private:
  struct Range {
    uint64_t base = 0;
    uint64_t size = 0;
    IoHandler* handler = nullptr;
  };
  // The range that holds [address, address + size), or nullptr.
  const Range* Find(uint64_t address, uint64_t size) const;

  std::vector<Range> ranges_;  // sorted by base
};

}  // namespace snapfaas::devices
