#include "http/url.h"

#include <algorithm>

namespace snapfaas::http {
namespace {

bool IsUnreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What comes before the separator, which is taken off `rest` together with it.
std::string_view TakeUpTo(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const auto piece = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return piece;
}

Result<std::string> DecodeQueryPiece(std::string_view piece) {
  std::string text(piece);
  std::replace(text.begin(), text.end(), '+', ' ');
  return PercentDecode(text);
}

}  // namespace

std::string PercentEncode(std::string_view text, Slash slash) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c) || (c == '/' && slash == Slash::kKeep)) {
      encoded.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded.push_back('%');
    encoded.push_back(kHex[byte >> 4]);
    encoded.push_back(kHex[byte & 15]);
  }
  return encoded;
}

Result<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const int high = i + 1 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Fail(ErrorCode::kInvalidArgument, "\"%\" without two hexadecimal digits at offset {}", i);
    }
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

Result<std::vector<std::string>> SplitPath(std::string_view path) {
  if (!path.starts_with('/')) return Fail(ErrorCode::kInvalidArgument, "a path that does not begin with \"/\"");
  path.remove_prefix(1);
  std::vector<std::string> segments;
  while (!path.empty()) {
    auto segment = PercentDecode(TakeUpTo(path, '/'));
    if (!segment) return Forward(segment.error());
    segments.push_back(*std::move(segment));
  }
  return segments;
}

Result<QueryPairs> ParseQuery(std::string_view query) {
  QueryPairs pairs;
  while (!query.empty()) {
    auto piece = TakeUpTo(query, '&');
    if (piece.empty()) continue;
    auto name = DecodeQueryPiece(TakeUpTo(piece, '='));
    if (!name) return Forward(name.error());
    auto value = DecodeQueryPiece(piece);
    if (!value) return Forward(value.error());
    pairs.emplace_back(*std::move(name), *std::move(value));
  }
  return pairs;
}

std::optional<std::string> FindQuery(const QueryPairs& pairs, std::string_view name) {
  const auto found = std::find_if(pairs.begin(), pairs.end(), [name](const auto& pair) { return pair.first == name; });
  return found == pairs.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace snapfaas::http
