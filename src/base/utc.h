// Times of day for people and protocols.
#pragma once

#include <cstdint>
#include <string>

namespace snapfaas {

// "2026-11-25T08:01:14.250Z" (ISO 8601).
std::string FormatUtc(int64_t unix_ms);

}  // namespace snapfaas
