#include "gateway/http_fields.h"

#include <algorithm>
#include <iterator>

namespace snapfaas::gateway {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// RFC 9110, section 5.6.2.
bool IsToken(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

}  // namespace

bool IsSameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

bool MaySendField(std::string_view name, std::string_view value) {
  constexpr std::string_view kOurs[] = {"content-length", "transfer-encoding", "connection", "date",
                                        "server",         "keep-alive",        "upgrade",    "trailer"};
  const bool is_ours =
      std::any_of(std::begin(kOurs), std::end(kOurs), [name](std::string_view one) { return IsSameName(one, name); });
  const bool is_clean = std::none_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
  return !is_ours && is_clean && IsToken(name);
}

std::string HttpDate(time_t time) {
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[40];
  const size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, size};
}

}  // namespace snapfaas::gateway
