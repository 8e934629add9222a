#include "gateway/function_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "gateway/ascii.h"

namespace snapfaas::gateway {
namespace {

constexpr size_t kMaxName = 64;
constexpr size_t kMaxText = 170;
constexpr size_t kMaxQualifier = 128;
constexpr std::string_view kPattern =
    "(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)"
    "(:(\\$LATEST|[a-zA-Z0-9-_]+))?";

bool IsNameCharacter(char c) { return IsLetter(c) || IsDigit(c) || c == '-' || c == '_'; }

bool IsAccount(std::string_view text) { return text.size() == 12 && std::all_of(text.begin(), text.end(), IsDigit); }
bool IsPartition(std::string_view text) { return text == "aws" || text.starts_with("aws-"); }

std::vector<std::string_view> SplitAtColons(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t colon = text.find(':');
    parts.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    text.remove_prefix(colon + 1);
  }
}

// Pieces of an ARN in front of the name; empty where they are not given.
struct Pieces {
  std::string_view region;
  std::string_view account;
  std::vector<std::string_view> rest;  // name, and maybe a qualifier
};

std::optional<Pieces> TakeApart(std::string_view text) {
  Pieces pieces;
  pieces.rest = SplitAtColons(text);
  const auto drop = [&pieces](size_t count) {
    pieces.rest.erase(pieces.rest.begin(), pieces.rest.begin() + static_cast<std::ptrdiff_t>(count));
  };
  auto& rest = pieces.rest;
  if (rest[0] == "arn") {
    if (rest.size() < 7 || !IsPartition(rest[1]) || rest[2] != "lambda" || rest[5] != "function") return std::nullopt;
    pieces.region = rest[3];
    pieces.account = rest[4];
    if (pieces.region.empty() || !IsAccount(pieces.account)) return std::nullopt;
    drop(6);
  } else {
    if (rest.size() >= 2 && IsAccount(rest[0])) {
      pieces.account = rest[0];
      drop(1);
    }
    if (rest.size() >= 2 && rest[0] == "function") drop(1);
  }
  if (rest.empty() || rest.size() > 2) return std::nullopt;
  return pieces;
}

}  // namespace

bool IsFunctionName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), IsNameCharacter);
}

bool IsQualifier(std::string_view qualifier) {
  if (qualifier == "$LATEST") return true;
  return !qualifier.empty() && qualifier.size() <= kMaxQualifier &&
         std::all_of(qualifier.begin(), qualifier.end(), IsNameCharacter);
}

bool IsVersionNumber(std::string_view qualifier) {
  return !qualifier.empty() && std::all_of(qualifier.begin(), qualifier.end(), IsDigit);
}

LambdaResult<FunctionName> ParseFunctionName(std::string_view text, const LambdaPlace& place) {
  const auto pieces = text.size() > kMaxText ? std::nullopt : TakeApart(text);
  const bool is_good = pieces && std::all_of(pieces->rest[0].begin(), pieces->rest[0].end(), IsNameCharacter) &&
                       !pieces->rest[0].empty() && (pieces->rest.size() == 1 || IsQualifier(pieces->rest[1]));
  if (!is_good) {
    return tl::unexpected(ConstraintViolated(
        text, "functionName", fmt::format("Member must satisfy regular expression pattern: {}", kPattern)));
  }
  if (pieces->rest[0].size() > kMaxName) {
    return tl::unexpected(ConstraintViolated(
        text, "functionName", fmt::format("Member must have length less than or equal to {}", kMaxName)));
  }
  if (!pieces->region.empty() && pieces->region != place.region) {
    return tl::unexpected(ResourceNotFound(
        fmt::format("Functions from '{}' are not reachable in this region ('{}')", pieces->region, place.region)));
  }
  if (!pieces->account.empty() && pieces->account != place.account) {
    return tl::unexpected(AccessDenied(fmt::format("{} belongs to account {}; the functions of this node belong to {}",
                                                   text, pieces->account, place.account)));
  }
  return FunctionName{std::string(pieces->rest[0]), pieces->rest.size() == 2 ? std::string(pieces->rest[1]) : ""};
}

LambdaResult<FunctionName> ParseFunctionName(std::string_view text, const std::optional<std::string>& qualifier,
                                             const LambdaPlace& place) {
  auto function = ParseFunctionName(text, place);
  if (!function || !qualifier || qualifier->empty()) return function;
  if (!IsQualifier(*qualifier)) {
    return tl::unexpected(ConstraintViolated(*qualifier, "qualifier",
                                             "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"));
  }
  if (!function->qualifier.empty() && function->qualifier != *qualifier) {
    return tl::unexpected(
        InvalidParameterValue("The derived qualifier from the function name does not match the specified qualifier."));
  }
  function->qualifier = *qualifier;
  return function;
}

std::string FunctionArn(const LambdaPlace& place, std::string_view name, std::string_view qualifier) {
  auto arn = fmt::format("arn:aws:lambda:{}:{}:function:{}", place.region, place.account, name);
  if (!qualifier.empty()) arn += fmt::format(":{}", qualifier);
  return arn;
}

LambdaError FunctionNotFound(const LambdaPlace& place, const FunctionName& function) {
  return ResourceNotFound(fmt::format("Function not found: {}", FunctionArn(place, function.name, function.qualifier)));
}

}  // namespace snapfaas::gateway
