// Environment: variables of this process.
#pragma once

#include <cstdlib>
#include <string_view>

namespace snapfaas::cli {

// Empty where there is none.
inline std::string_view Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

}  // namespace snapfaas::cli
