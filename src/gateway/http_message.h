// HttpRequest and HttpResponse: what the server hands to the APIs and takes from them, so that these can be tested
// without a socket.
#pragma once

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace snapfaas::gateway {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

// The first field of that name, whatever its case.
inline std::optional<std::string_view> FindField(const HttpFields& fields, std::string_view name) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (const auto& [key, value] : fields) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(), same)) return value;
  }
  return std::nullopt;
}

struct HttpRequest {
  std::string method;
  std::string target;  // as it came: path and query, still encoded
  std::string path;    // still encoded: a segment may hold an encoded slash
  std::string query;   // without its question mark, still encoded
  HttpFields headers;  // in the order they came
  std::string body;
  std::string peer;  // the client's address
};

struct HttpResponse {
  int status = 200;
  HttpFields headers;  // Content-Length is the server's
  std::string body;
};

}  // namespace snapfaas::gateway
