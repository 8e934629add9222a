// Random numbers that are the same on every machine: the standard defines what its engines give, but not what its
// distributions do with it.
#pragma once

#include <cstdint>
#include <random>

namespace snapfaas::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  double Uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }  // [0, 1)
  // Below `bound`. REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound) { return static_cast<uint64_t>(Uniform() * static_cast<double>(bound)); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace snapfaas::sim
