#include "http/canonical_request.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>

#include "http/url.h"

namespace snapfaas::http {
namespace {

// Calls `use` with each part of `text` between separators.
template <typename Use>
void ForEachPart(std::string_view text, char separator, Use use) {
  for (;;) {
    const size_t end = text.find(separator);
    use(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

// Without spaces at the ends, and with one where there were several.
std::string CollapseSpaces(std::string_view value) {
  std::string collapsed;
  for (const char c : value) {
    const bool is_space = c == ' ' || c == '\t';
    if (is_space && (collapsed.empty() || collapsed.back() == ' ')) continue;
    collapsed.push_back(is_space ? ' ' : c);
  }
  if (!collapsed.empty() && collapsed.back() == ' ') collapsed.pop_back();
  return collapsed;
}

Result<std::string> Recode(std::string_view encoded) {
  auto decoded = PercentDecode(encoded);
  if (!decoded) return Forward(decoded.error());
  return PercentEncode(*decoded);
}

}  // namespace

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

Result<std::string> CanonicalQuery(std::string_view query) {
  Fields pairs;
  std::optional<Error> failure;
  ForEachPart(query, '&', [&](std::string_view part) {
    if (part.empty()) return;
    const size_t equals = part.find('=');
    auto name = Recode(part.substr(0, equals));
    auto value = Recode(equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1));
    if (!name || !value) {
      failure = name ? value.error() : name.error();
    } else if (*name != "X-Amz-Signature") {
      pairs.emplace_back(std::move(*name), std::move(*value));
    }
  });
  if (failure) return Forward(std::move(*failure));
  std::sort(pairs.begin(), pairs.end());
  std::string canonical;
  for (const auto& [name, value] : pairs) {
    if (!canonical.empty()) canonical += '&';
    canonical += fmt::format("{}={}", name, value);
  }
  return canonical;
}

std::string CanonicalPath(std::string_view path) {
  std::vector<std::string_view> segments;
  ForEachPart(path, '/', [&segments](std::string_view segment) {
    if (segment == "..") {
      if (!segments.empty()) segments.pop_back();
    } else if (!segment.empty() && segment != ".") {
      segments.push_back(segment);
    }
  });
  std::string canonical;
  for (const auto segment : segments) canonical += "/" + PercentEncode(segment);
  if (canonical.empty() || path.back() == '/') canonical += '/';
  return canonical;
}

Result<std::string> CanonicalHeaders(const Fields& headers, const std::vector<std::string>& names) {
  std::string canonical;
  for (const auto& name : names) {
    std::string values;
    bool found = false;
    for (const auto& [key, value] : headers) {
      if (ToLower(key) != name) continue;
      if (found) values += ',';
      values += CollapseSpaces(value);
      found = true;
    }
    if (!found) return Fail(ErrorCode::kInvalidArgument, "'{}' is signed but is not a header of the request", name);
    canonical += fmt::format("{}:{}\n", name, values);
  }
  return canonical;
}

std::string JoinNames(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ";")); }

std::string Hex(const Digest& digest) { return fmt::format("{:02x}", fmt::join(digest, "")); }

std::string Sha256Hex(std::string_view bytes) {
  Digest digest{};
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest.data());
  return Hex(digest);
}

Digest HmacSha256(std::string_view key, std::string_view bytes) {
  Digest digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const uint8_t*>(bytes.data()),
       bytes.size(), digest.data(), &size);
  return digest;
}

}  // namespace snapfaas::http
