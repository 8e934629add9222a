// Random UUIDs (RFC 4122, version 4), and random bytes from the kernel.
#pragma once

#include <cstddef>
#include <string>

namespace snapfaas {

// `size` random bytes, fit for secrets.
std::string RandomBytes(size_t size);

// E.g. "0b4f4c1e-6a53-4d0e-9c5c-2f8f6f5a2c11".
std::string RandomUuid();

}  // namespace snapfaas
