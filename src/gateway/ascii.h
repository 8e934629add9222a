// Classes of characters, whatever the locale is.
#pragma once

namespace snapfaas::gateway {

constexpr bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace snapfaas::gateway
