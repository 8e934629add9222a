// Function URLs.
#include <fmt/format.h>

#include "gateway/lambda_answers.h"
#include "gateway/lambda_api.h"
#include "gateway/lambda_call.h"

namespace snapfaas::gateway {
namespace {

using registry::Cors;
using registry::FunctionUrl;
using registry::UrlAuth;

constexpr uint32_t kMaxCorsAge = 86400;

std::optional<UrlAuth> ReadAuth(LambdaInput& input) {
  const auto auth = input.OneOf("AuthType", {"NONE", "AWS_IAM"});
  if (!auth) return std::nullopt;
  return *auth == "NONE" ? UrlAuth::kNone : UrlAuth::kAwsIam;
}

std::optional<Cors> ReadCors(LambdaInput& input) {
  auto object = input.Object("Cors");
  if (!object) return std::nullopt;
  const auto strings = [&object](const char* member) {
    return object->Strings(member).value_or(std::vector<std::string>());
  };
  Cors cors;
  cors.allow_credentials = object->Bool("AllowCredentials").value_or(false);
  cors.allow_headers = strings("AllowHeaders");
  cors.allow_methods = strings("AllowMethods");
  cors.allow_origins = strings("AllowOrigins");
  cors.expose_headers = strings("ExposeHeaders");
  cors.max_age_s = object->Number("MaxAge", 0, kMaxCorsAge).value_or(0);
  return cors;
}

void RefuseStreaming(LambdaInput& input) {
  const auto mode = input.OneOf("InvokeMode", {"BUFFERED", "RESPONSE_STREAM"});
  if (mode == "RESPONSE_STREAM") {
    input.Fail(InvalidParameterValue("This node answers function URLs with InvokeMode BUFFERED only"));
  }
}

std::optional<LambdaError> RefuseVersion(const FunctionName& function) {
  if (!IsVersionNumber(function.qualifier)) return std::nullopt;
  return ConstraintViolated(
      function.qualifier, "qualifier",
      "Member must satisfy regular expression pattern: (^\\$LATEST$)|((?!^[0-9]+$)([a-zA-Z0-9-_]+))");
}

LambdaError UrlRefusal(const Error& error) {
  if (error.code == ErrorCode::kNotFound) return ResourceNotFound("The resource you requested does not exist.");
  return FromError(error);
}

nlohmann::json WithModified(nlohmann::json json, const FunctionUrl& url) {
  json["LastModifiedTime"] = Iso8601Text(url.last_modified_unix_ms);
  return json;
}

}  // namespace

LambdaApi::Outcome LambdaApi::CreateFunctionUrlConfig(LambdaCall& call) {
  auto& input = call.input;
  input.Require("AuthType");
  const auto auth = ReadAuth(input);
  const auto cors = ReadCors(input);
  RefuseStreaming(input);
  if (input.error()) return tl::unexpected(*input.error());
  if (auto refused = RefuseVersion(call.function)) return tl::unexpected(*refused);
  const auto url = registry_.CreateUrl(call.function.name, call.function.qualifier, *auth, cors);
  if (url) return LambdaAnswer(201, FunctionUrlAnswer(*url, options_.place, options_.function_url));
  if (url.error().code == ErrorCode::kAlreadyExists) {
    return tl::unexpected(ResourceConflict(
        fmt::format("Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig "
                    "exists for this Lambda function",
                    ArnOf(call.function))));
  }
  return tl::unexpected(Refusal(url.error(), call.function));
}

LambdaApi::Outcome LambdaApi::GetFunctionUrlConfig(LambdaCall& call) {
  if (auto refused = RefuseVersion(call.function)) return tl::unexpected(*refused);
  const auto url = registry_.GetUrl(call.function.name, call.function.qualifier);
  if (!url) return tl::unexpected(UrlRefusal(url.error()));
  return LambdaAnswer(200, WithModified(FunctionUrlAnswer(*url, options_.place, options_.function_url), *url));
}

LambdaApi::Outcome LambdaApi::UpdateFunctionUrlConfig(LambdaCall& call) {
  auto& input = call.input;
  const registry::Registry::UrlUpdate update{ReadAuth(input), ReadCors(input)};
  RefuseStreaming(input);
  if (input.error()) return tl::unexpected(*input.error());
  if (auto refused = RefuseVersion(call.function)) return tl::unexpected(*refused);
  const auto url = registry_.UpdateUrl(call.function.name, call.function.qualifier, update);
  if (!url) return tl::unexpected(UrlRefusal(url.error()));
  return LambdaAnswer(200, WithModified(FunctionUrlAnswer(*url, options_.place, options_.function_url), *url));
}

LambdaApi::Outcome LambdaApi::DeleteFunctionUrlConfig(LambdaCall& call) {
  if (auto refused = RefuseVersion(call.function)) return tl::unexpected(*refused);
  const auto deleted = registry_.DeleteUrl(call.function.name, call.function.qualifier);
  if (!deleted) return tl::unexpected(UrlRefusal(deleted.error()));
  return NoContent();
}

LambdaApi::Outcome LambdaApi::ListFunctionUrlConfigs(LambdaCall& call) {
  const auto page = PageOf(call, 50);
  if (!page) return tl::unexpected(page.error());
  const auto listed = registry_.ListUrls(call.function.name, *page);
  if (!listed) return tl::unexpected(Refusal(listed.error(), call.function));
  return LambdaAnswer(200, ListAnswer("FunctionUrlConfigs", *listed, [this](const FunctionUrl& url) {
                        return WithModified(FunctionUrlAnswer(url, options_.place, options_.function_url), url);
                      }));
}

}  // namespace snapfaas::gateway
