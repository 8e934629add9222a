// The few encodings of the ACPI Machine Language (ACPI 6.4, chapter 20) that a DSDT of plain devices needs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace snapfaas::vmm::aml {

using Bytes = std::vector<uint8_t>;

Bytes Integer(uint32_t value);
Bytes String(std::string_view text);
Bytes Buffer(const Bytes& content);
Bytes Package(const std::vector<Bytes>& elements);

// `segment`: four characters.
Bytes Name(std::string_view segment, const Bytes& value);
Bytes Device(std::string_view segment, const std::vector<Bytes>& members);

// Scope (\_SB_).
Bytes SystemBusScope(const std::vector<Bytes>& members);

// A compressed EISA id such as "PNP0501".
Bytes EisaId(std::string_view id);

// Resource descriptors (6.4), to be joined by ResourceTemplate.
Bytes Memory32Fixed(uint32_t base, uint32_t length);
Bytes IoPorts(uint16_t base, uint8_t length);
Bytes EdgeInterrupt(uint32_t gsi);
Bytes ResourceTemplate(const std::vector<Bytes>& descriptors);

}  // namespace snapfaas::vmm::aml
