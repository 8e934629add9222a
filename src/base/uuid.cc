#include "base/uuid.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace snapfaas {

std::string RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::getrandom(bytes.data() + filled, size - filled, 0);
    if (got > 0) {
      filled += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      std::abort();  // a kernel without getrandom(2)
    }
  }
  return bytes;
}

std::string RandomUuid() {
  std::string bytes = RandomBytes(16);
  const auto at = [&bytes](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  bytes[6] = static_cast<char>((at(6) & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<char>((at(8) & 0x3f) | 0x80);  // the variant of RFC 4122
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text += fmt::format("{:02x}", at(i));
  }
  return text;
}

}  // namespace snapfaas
