// What every harness says about an answer that must not be.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace snapfaas::fuzz {

// Ends the process, which the fuzzer takes for a finding, unless `holds`.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

}  // namespace snapfaas::fuzz
