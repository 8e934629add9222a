// SparePlanner: sees which functions are called in a rhythm, and says when a microVM ought to be made ready for the
// next call. Lives on the Timekeeper's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "faas/function_spec.h"
#include "faas/timekeeper.h"

namespace snapfaas::faas {

// When a function was called lately.
class Rhythm {
 public:
  void Arrived(int64_t now_ns);

  // The earliest moment at which the next call is to be expected; nothing where the last intervals differ by more than
  // a fifth of their mean, or are too few.
  std::optional<int64_t> NextNanos() const;

 private:
  static constexpr size_t kIntervals = 4;

  std::array<int64_t, kIntervals> intervals_{};  // a ring
  size_t count_ = 0;
  int64_t last_ns_ = 0;
  bool is_first_ = true;
};

class SparePlanner {
 public:
  using Due = std::function<void(const FunctionSpec& spec)>;

  // Calls `due` by `lead_ns` before the next call of a function is to be expected. REQUIRES: the Timekeeper outlives
  // it.
  SparePlanner(Timekeeper& timekeeper, int64_t lead_ns, Due due);
  SparePlanner(const SparePlanner&) = delete;
  SparePlanner& operator=(const SparePlanner&) = delete;
  ~SparePlanner() { Clear(); }

  void Arrived(const FunctionSpec& spec);

  // Of the functions that `matches` accepts nothing is known any more.
  void Forget(const std::function<bool(const FunctionSpec& spec)>& matches);
  void Clear();

 private:
  struct Plan {
    FunctionSpec spec;
    Rhythm rhythm;
    std::optional<Timekeeper::TimerId> timer;
  };

  void Unset(Plan& plan);

  Timekeeper& timekeeper_;
  const int64_t lead_ns_;
  const Due due_;
  std::unordered_map<std::string, Plan> plans_;  // by the specification's key
};

}  // namespace snapfaas::faas
