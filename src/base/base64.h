// Base64 with the alphabet and padding of RFC 4648, section 4.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace snapfaas {

std::string EncodeBase64(std::string_view bytes);

// Strict: whole groups of four, padding only at the end, no line breaks, no bits beyond the last byte.
// kInvalidArgument otherwise.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace snapfaas
