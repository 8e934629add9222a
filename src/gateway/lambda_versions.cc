// Published versions and aliases.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/lambda_answers.h"
#include "gateway/lambda_api.h"
#include "gateway/lambda_call.h"

namespace snapfaas::gateway {
namespace {

using registry::Alias;
using registry::FunctionVersion;
using Weights = std::map<std::string, double>;

bool IsAliasName(std::string_view name) {
  return IsQualifier(name) && !IsVersionNumber(name) && name != registry::kLatest;
}
const LambdaInput::Text kAliasName{1, 128, IsAliasName, "(?!^[0-9]+$)([a-zA-Z0-9-_]+)"};

bool IsVersion(std::string_view version) { return version == registry::kLatest || IsVersionNumber(version); }
const LambdaInput::Text kVersion{1, 1024, IsVersion, "(\\$LATEST|[0-9]+)"};

const LambdaInput::Text kDescription{0, 256};

// Nothing: the request has no RoutingConfig. An empty one takes the weights away.
std::optional<Weights> ReadWeights(LambdaInput& input) {
  auto routing = input.Object("RoutingConfig");
  if (!routing) return std::nullopt;
  return routing->NumberMap("AdditionalVersionWeights", 0, 1).value_or(Weights());
}

}  // namespace

LambdaApi::Outcome LambdaApi::PublishVersion(LambdaCall& call) {
  auto& input = call.input;
  registry::Registry::PublishRequest request;
  request.description = input.String("Description", kDescription);
  request.code_sha256 = input.String("CodeSha256").value_or("");
  const auto revision = input.String("RevisionId").value_or("");
  if (input.error()) return tl::unexpected(*input.error());
  const auto published = registry_.PublishVersion(call.function.name, request, revision);
  if (!published) return tl::unexpected(Refusal(published.error(), call.function));
  const auto& version = published->version;
  if (published->is_new) deployments_.Start(version.function, version.version);
  return LambdaAnswer(201, Describe(version, version.version));
}

LambdaApi::Outcome LambdaApi::ListVersionsByFunction(LambdaCall& call) {
  const auto page = PageOf(call);
  if (!page) return tl::unexpected(page.error());
  const auto listed = registry_.ListVersions(call.function.name, *page);
  if (!listed) return tl::unexpected(Refusal(listed.error(), call.function));
  return LambdaAnswer(200, ListAnswer("Versions", *listed, [this](const FunctionVersion& version) {
                        return Describe(version, version.version);
                      }));
}

// What refuses an alias: a version that is not there says so by its own ARN.
LambdaError LambdaApi::AliasRefusal(const Error& error, const Alias& alias) {
  if (error.code != ErrorCode::kNotFound) return Refusal(error, {alias.function, alias.name});
  if (auto function = Find({alias.function, ""}); !function) return function.error();
  std::vector<std::string> versions = {alias.version};
  for (const auto& [version, weight] : alias.additional_weights) versions.push_back(version);
  for (const auto& version : versions) {
    if (version.empty()) continue;
    if (auto found = Find({alias.function, version}); !found) return found.error();
  }
  return ResourceNotFound(fmt::format("Cannot find alias arn: {}", ArnOf({alias.function, alias.name})));
}

LambdaApi::Outcome LambdaApi::CreateAlias(LambdaCall& call) {
  auto& input = call.input;
  input.Require("Name");
  input.Require("FunctionVersion");
  Alias alias;
  alias.function = call.function.name;
  alias.name = input.String("Name", kAliasName).value_or("");
  alias.version = input.String("FunctionVersion", kVersion).value_or("");
  alias.description = input.String("Description", kDescription).value_or("");
  alias.additional_weights = ReadWeights(input).value_or(Weights());
  if (input.error()) return tl::unexpected(*input.error());
  const auto made = registry_.CreateAlias(alias);
  if (!made && made.error().code == ErrorCode::kAlreadyExists) {
    return tl::unexpected(
        ResourceConflict(fmt::format("Alias already exists: {}", ArnOf({alias.function, alias.name}))));
  }
  if (!made) return tl::unexpected(AliasRefusal(made.error(), alias));
  return LambdaAnswer(201, AliasAnswer(*made, options_.place));
}

LambdaApi::Outcome LambdaApi::ListAliases(LambdaCall& call) {
  const auto page = PageOf(call);
  if (!page) return tl::unexpected(page.error());
  const auto listed = registry_.ListAliases(call.function.name, call.Query("FunctionVersion").value_or(""), *page);
  if (!listed) return tl::unexpected(Refusal(listed.error(), call.function));
  return LambdaAnswer(
      200, ListAnswer("Aliases", *listed, [this](const Alias& alias) { return AliasAnswer(alias, options_.place); }));
}

LambdaApi::Outcome LambdaApi::GetAlias(LambdaCall& call) {
  const auto alias = registry_.GetAlias(call.function.name, call.name);
  if (!alias) return tl::unexpected(AliasRefusal(alias.error(), {call.function.name, call.name, "", "", {}, ""}));
  return LambdaAnswer(200, AliasAnswer(*alias, options_.place));
}

LambdaApi::Outcome LambdaApi::UpdateAlias(LambdaCall& call) {
  auto& input = call.input;
  registry::Registry::AliasUpdate update;
  update.version = input.String("FunctionVersion", kVersion);
  update.description = input.String("Description", kDescription);
  update.additional_weights = ReadWeights(input);
  const auto revision = input.String("RevisionId").value_or("");
  if (input.error()) return tl::unexpected(*input.error());
  const auto updated = registry_.UpdateAlias(call.function.name, call.name, update, revision);
  if (!updated) {
    const Alias wanted{call.function.name,
                       call.name,
                       update.version.value_or(""),
                       "",
                       update.additional_weights.value_or(Weights()),
                       ""};
    return tl::unexpected(AliasRefusal(updated.error(), wanted));
  }
  return LambdaAnswer(200, AliasAnswer(*updated, options_.place));
}

LambdaApi::Outcome LambdaApi::DeleteAlias(LambdaCall& call) {
  const auto deleted = registry_.DeleteAlias(call.function.name, call.name);
  if (deleted) return NoContent();
  if (deleted.error().code != ErrorCode::kNotFound) return tl::unexpected(Refusal(deleted.error(), call.function));
  // As Lambda has it: an alias that is not there is no error, a function is.
  if (auto function = Find({call.function.name, ""}); !function) return tl::unexpected(function.error());
  return NoContent();
}

}  // namespace snapfaas::gateway
