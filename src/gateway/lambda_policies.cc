// Resource policies, which are kept and answered, and tags.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/lambda_api.h"
#include "gateway/lambda_call.h"

namespace snapfaas::gateway {
namespace {

using Tags = registry::Registry::Tags;

constexpr size_t kMaxTags = 50;
constexpr size_t kMaxTagKey = 128;
constexpr size_t kMaxTagValue = 256;
constexpr size_t kMaxPolicy = 20 << 10;

bool IsStatementId(std::string_view id) { return IsQualifier(id) && id != registry::kLatest; }
const LambdaInput::Text kStatementId{1, 100, IsStatementId, "([a-zA-Z0-9-_]+)"};

bool IsAction(std::string_view action) {
  if (action == "*" || action == "lambda:*") return true;
  constexpr std::string_view kPrefix = "lambda:";
  return action.starts_with(kPrefix) && action.size() > kPrefix.size() &&
         std::all_of(action.begin() + kPrefix.size(), action.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
}
const LambdaInput::Text kAction{0, SIZE_MAX, IsAction, "(lambda:[*]|lambda:[a-zA-Z]+|[*])"};

Json PrincipalOf(const std::string& principal) {
  if (principal == "*") return "*";
  const bool is_account = principal.size() == 12 && IsVersionNumber(principal);
  if (is_account) return {{"AWS", fmt::format("arn:aws:iam::{}:root", principal)}};
  if (principal.starts_with("arn:")) return {{"AWS", principal}};
  return {{"Service", principal}};
}

// The statement's Condition.
Json ReadConditions(LambdaInput& input) {
  struct Condition {
    const char* member;
    const char* test;
    const char* key;
  };
  constexpr Condition kConditions[] = {{"SourceArn", "ArnLike", "AWS:SourceArn"},
                                       {"SourceAccount", "StringEquals", "AWS:SourceAccount"},
                                       {"EventSourceToken", "StringEquals", "lambda:EventSourceToken"},
                                       {"PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"},
                                       {"FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"}};
  Json conditions = Json::object();
  for (const auto& [member, test, key] : kConditions) {
    if (const auto value = input.String(member)) conditions[test][key] = *value;
  }
  return conditions;
}

std::string PolicyText(const registry::Policy& policy) {
  Json statements = Json::array();
  for (const auto& statement : policy.statements) statements.push_back(Json::parse(statement.json, nullptr, false));
  return Json{{"Version", "2012-10-17"}, {"Id", "default"}, {"Statement", std::move(statements)}}.dump();
}

std::optional<LambdaError> RefuseQualified(const FunctionName& function) {
  if (function.qualifier.empty()) return std::nullopt;
  return InvalidParameterValue(
      "Tags on function aliases and versions are not supported. Please specify a function ARN.");
}

std::optional<std::string> TagProblem(const Tags& tags) {
  if (tags.size() > kMaxTags) return fmt::format("A function has at most {} tags, not {}", kMaxTags, tags.size());
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > kMaxTagKey)
      return fmt::format("A tag's key has 1 to {} bytes: \"{}\"", kMaxTagKey, key);
    if (value.size() > kMaxTagValue) return fmt::format("A tag's value has at most {} bytes: {}", kMaxTagValue, key);
  }
  return std::nullopt;
}

}  // namespace

std::optional<LambdaError> CheckTags(const Tags& tags) {
  auto problem = TagProblem(tags);
  if (!problem) return std::nullopt;
  return InvalidParameterValue(*std::move(problem));
}

LambdaApi::Outcome LambdaApi::AddPermission(LambdaCall& call) {
  auto& input = call.input;
  for (const char* member : {"StatementId", "Action", "Principal"}) input.Require(member);
  const auto id = input.String("StatementId", kStatementId).value_or("");
  const auto action = input.String("Action", kAction).value_or("");
  const auto principal = input.String("Principal", {1}).value_or("");
  const auto conditions = ReadConditions(input);
  const auto revision = input.String("RevisionId").value_or("");
  if (input.error()) return tl::unexpected(*input.error());
  if (call.function.qualifier == registry::kLatest) {
    return tl::unexpected(InvalidParameterValue("We currently do not support adding policies for $LATEST."));
  }
  Json statement = {{"Sid", id},
                    {"Effect", "Allow"},
                    {"Principal", PrincipalOf(principal)},
                    {"Action", action},
                    {"Resource", ArnOf(call.function)}};
  if (!conditions.empty()) statement["Condition"] = conditions;
  const std::string text = statement.dump();
  if (text.size() > kMaxPolicy) {
    return tl::unexpected(LambdaError{400, "PolicyLengthExceededException",
                                      fmt::format("A policy has at most {} bytes", kMaxPolicy), ""});
  }
  const auto policy = registry_.AddPolicyStatement(call.function.name, call.function.qualifier, {id, text}, revision);
  if (!policy) return tl::unexpected(Refusal(policy.error(), call.function));
  return LambdaAnswer(201, {{"Statement", text}});
}

LambdaApi::Outcome LambdaApi::GetPolicy(LambdaCall& call) {
  const auto policy = registry_.GetPolicy(call.function.name, call.function.qualifier);
  if (policy) return LambdaAnswer(200, {{"Policy", PolicyText(*policy)}, {"RevisionId", policy->revision}});
  if (policy.error().code == ErrorCode::kNotFound) {
    return tl::unexpected(ResourceNotFound("The resource you requested does not exist."));
  }
  return tl::unexpected(FromError(policy.error()));
}

LambdaApi::Outcome LambdaApi::RemovePermission(LambdaCall& call) {
  const auto removed = registry_.RemovePolicyStatement(call.function.name, call.function.qualifier, call.name,
                                                       call.Query("RevisionId").value_or(""));
  if (removed) return NoContent();
  if (removed.error().code != ErrorCode::kNotFound) return tl::unexpected(Refusal(removed.error(), call.function));
  if (auto function = Find(call.function); !function) return tl::unexpected(function.error());
  return tl::unexpected(ResourceNotFound(fmt::format("Statement {} is not found in resource policy.", call.name)));
}

LambdaApi::Outcome LambdaApi::TagResource(LambdaCall& call) {
  call.input.Require("Tags");
  const auto tags = call.input.StringMap("Tags").value_or(Tags());
  if (call.input.error()) return tl::unexpected(*call.input.error());
  if (auto refused = RefuseQualified(call.function)) return tl::unexpected(*refused);
  const auto changed = registry_.ChangeTags(call.function.name, [&](Tags& all) -> Status {
    for (const auto& [key, value] : tags) all[key] = value;
    const auto problem = TagProblem(all);
    if (problem) return Fail(ErrorCode::kInvalidArgument, "{}", *problem);
    return {};
  });
  if (!changed) return tl::unexpected(Refusal(changed.error(), call.function));
  return NoContent();
}

LambdaApi::Outcome LambdaApi::UntagResource(LambdaCall& call) {
  if (auto refused = RefuseQualified(call.function)) return tl::unexpected(*refused);
  const auto changed = registry_.ChangeTags(call.function.name, [&](Tags& all) -> Status {
    for (const auto& [name, value] : call.query) {
      if (name == "tagKeys") all.erase(value);
    }
    return {};
  });
  if (!changed) return tl::unexpected(Refusal(changed.error(), call.function));
  return NoContent();
}

LambdaApi::Outcome LambdaApi::ListTags(LambdaCall& call) {
  if (auto refused = RefuseQualified(call.function)) return tl::unexpected(*refused);
  const auto tags = registry_.GetTags(call.function.name);
  if (!tags) return tl::unexpected(Refusal(tags.error(), call.function));
  return LambdaAnswer(200, {{"Tags", *tags}});
}

}  // namespace snapfaas::gateway
