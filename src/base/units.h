// Sizes as literals: 128_MiB.
#pragma once

#include <cstdint>

namespace snapfaas {

constexpr uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
constexpr uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
constexpr uint64_t operator""_GiB(unsigned long long n) { return n << 30; }

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kHugePageSize = 2_MiB;

// For people to read.
constexpr double ToMib(uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1_MiB); }

}  // namespace snapfaas
