// ACPI tables of a microVM: hardware-reduced (ACPI 6.4, 4.1), so that a distribution kernel finds its processors, its
// virtio-mmio devices (_HID "LNRO0005"), its serial port and the way to switch off, and looks for nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_address.h"
#include "memory/guest_memory.h"

namespace snapfaas::vmm {

struct AcpiDevice {
  GuestAddress base;
  uint32_t size;
  uint32_t gsi;
};

// Writes all tables at layout.h's kAcpiTables and returns the address of the RSDP.
Result<GuestAddress> WriteAcpiTables(GuestMemory& memory, uint32_t vcpus, std::span<const AcpiDevice> virtio_devices);

// The tables as bytes that are to lie at `base`; the RSDP comes first. Separate for tests.
std::vector<uint8_t> BuildAcpiTables(GuestAddress base, uint32_t vcpus, std::span<const AcpiDevice> virtio_devices);

}  // namespace snapfaas::vmm
