// Percent-encoding of paths and queries (RFC 3986, section 2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace snapfaas::http {

enum class Slash { kEncode, kKeep };

// Everything but unreserved characters (letters, digits, "-._~") as %XX with upper-case digits, as SigV4 wants it too.
std::string PercentEncode(std::string_view text, Slash slash = Slash::kEncode);

// "+" stays a plus. kInvalidArgument when a "%" is not followed by two hexadecimal digits.
Result<std::string> PercentDecode(std::string_view text);

// The decoded segments of "/a/b%2Fc": {"a", "b/c"}. A final slash counts for nothing; empty segments between others
// stay. kInvalidArgument also when the path does not begin with a slash.
Result<std::vector<std::string>> SplitPath(std::string_view path);

// Decoded pairs in the order they came; "a" is "a=". Here a "+" is a space, as browsers and API Gateway have it.
using QueryPairs = std::vector<std::pair<std::string, std::string>>;
Result<QueryPairs> ParseQuery(std::string_view query);

// The first of that name.
std::optional<std::string> FindQuery(const QueryPairs& pairs, std::string_view name);

}  // namespace snapfaas::http
