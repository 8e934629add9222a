// The canonical form of a request and the hashes of AWS Signature Version 4, "Create a signed AWS API request".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace snapfaas::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

// What of a request is signed. Borrows all of it.
struct SignableRequest {
  std::string_view method;
  std::string_view path;   // as it goes over the wire, encoded
  std::string_view query;  // the same, without its question mark
  const Fields& headers;
  std::string_view body;
};

// "X-Amz-Signature" is never part of what is signed.
Result<std::string> CanonicalQuery(std::string_view query);

// Encodes what came once more, as every service but S3 has it; dot segments and doubled slashes go.
std::string CanonicalPath(std::string_view path);

// The header fields of these lower-case names, which are sorted. kInvalidArgument names one that the request lacks.
Result<std::string> CanonicalHeaders(const Fields& headers, const std::vector<std::string>& names);

// `names` joined by ";".
std::string JoinNames(const std::vector<std::string>& names);

std::string ToLower(std::string_view text);

using Digest = std::array<uint8_t, 32>;

std::string Hex(const Digest& digest);
std::string Sha256Hex(std::string_view bytes);
Digest HmacSha256(std::string_view key, std::string_view bytes);

inline std::string_view AsText(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace snapfaas::http
