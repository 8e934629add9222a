#include "gateway/lambda_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/base64.h"
#include "base/uuid.h"
#include "gateway/lambda_answers.h"
#include "gateway/lambda_call.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

constexpr size_t kPageLimit = 50;
constexpr size_t kMaxBody = 69905067;  // a zip of 50 MiB in base64

// Which segments of a path mean the function and the name that follows.
constexpr std::string_view kFunction = "{fn}";
constexpr std::string_view kArn = "{arn}";
constexpr std::string_view kName = "{name}";

}  // namespace

struct LambdaApi::Route {
  std::string_view method;
  std::vector<std::string_view> path;
  Operation operation;
};

const std::vector<LambdaApi::Route>& LambdaApi::Routes() {
  using Api = LambdaApi;
  static const std::vector<Route> routes = {
      {"POST", {"2015-03-31", "functions"}, &Api::CreateFunction},
      {"GET", {"2015-03-31", "functions"}, &Api::ListFunctions},
      {"GET", {"2015-03-31", "functions", kFunction}, &Api::GetFunction},
      {"DELETE", {"2015-03-31", "functions", kFunction}, &Api::DeleteFunction},
      {"PUT", {"2015-03-31", "functions", kFunction, "code"}, &Api::UpdateFunctionCode},
      {"GET", {"2015-03-31", "functions", kFunction, "code"}, &Api::GetCode},
      {"PUT", {"2015-03-31", "functions", kFunction, "configuration"}, &Api::UpdateFunctionConfiguration},
      {"GET", {"2015-03-31", "functions", kFunction, "configuration"}, &Api::GetFunctionConfiguration},
      {"POST", {"2015-03-31", "functions", kFunction, "versions"}, &Api::PublishVersion},
      {"GET", {"2015-03-31", "functions", kFunction, "versions"}, &Api::ListVersionsByFunction},
      {"POST", {"2015-03-31", "functions", kFunction, "aliases"}, &Api::CreateAlias},
      {"GET", {"2015-03-31", "functions", kFunction, "aliases"}, &Api::ListAliases},
      {"GET", {"2015-03-31", "functions", kFunction, "aliases", kName}, &Api::GetAlias},
      {"PUT", {"2015-03-31", "functions", kFunction, "aliases", kName}, &Api::UpdateAlias},
      {"DELETE", {"2015-03-31", "functions", kFunction, "aliases", kName}, &Api::DeleteAlias},
      {"POST", {"2015-03-31", "functions", kFunction, "policy"}, &Api::AddPermission},
      {"GET", {"2015-03-31", "functions", kFunction, "policy"}, &Api::GetPolicy},
      {"DELETE", {"2015-03-31", "functions", kFunction, "policy", kName}, &Api::RemovePermission},
      {"PUT", {"2017-10-31", "functions", kFunction, "concurrency"}, &Api::PutFunctionConcurrency},
      {"DELETE", {"2017-10-31", "functions", kFunction, "concurrency"}, &Api::DeleteFunctionConcurrency},
      {"GET", {"2019-09-30", "functions", kFunction, "concurrency"}, &Api::GetFunctionConcurrency},
      {"PUT", {"2019-09-25", "functions", kFunction, "event-invoke-config"}, &Api::PutFunctionEventInvokeConfig},
      {"POST", {"2019-09-25", "functions", kFunction, "event-invoke-config"}, &Api::UpdateFunctionEventInvokeConfig},
      {"GET", {"2019-09-25", "functions", kFunction, "event-invoke-config"}, &Api::GetFunctionEventInvokeConfig},
      {"DELETE", {"2019-09-25", "functions", kFunction, "event-invoke-config"}, &Api::DeleteFunctionEventInvokeConfig},
      {"GET",
       {"2019-09-25", "functions", kFunction, "event-invoke-config", "list"},
       &Api::ListFunctionEventInvokeConfigs},
      {"POST", {"2021-10-31", "functions", kFunction, "url"}, &Api::CreateFunctionUrlConfig},
      {"GET", {"2021-10-31", "functions", kFunction, "url"}, &Api::GetFunctionUrlConfig},
      {"PUT", {"2021-10-31", "functions", kFunction, "url"}, &Api::UpdateFunctionUrlConfig},
      {"DELETE", {"2021-10-31", "functions", kFunction, "url"}, &Api::DeleteFunctionUrlConfig},
      {"GET", {"2021-10-31", "functions", kFunction, "urls"}, &Api::ListFunctionUrlConfigs},
      {"POST", {"2017-03-31", "tags", kArn}, &Api::TagResource},
      {"DELETE", {"2017-03-31", "tags", kArn}, &Api::UntagResource},
      {"GET", {"2017-03-31", "tags", kArn}, &Api::ListTags},
      {"GET", {"2016-08-19", "account-settings"}, &Api::GetAccountSettings},
  };
  return routes;
}

namespace {

bool IsPlaceholder(std::string_view piece) { return piece.starts_with('{'); }

bool Matches(const std::vector<std::string_view>& pattern, const std::vector<std::string>& path) {
  return std::equal(pattern.begin(), pattern.end(), path.begin(), path.end(),
                    [](std::string_view piece, const std::string& segment) {
                      return IsPlaceholder(piece) ? !segment.empty() : piece == segment;
                    });
}

HttpResponse JsonResponse(int status, const nlohmann::json& json) {
  HttpResponse response;
  response.status = status;
  if (json.is_null()) return response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

LambdaResult<LambdaCall> MakeCall(const HttpRequest& request, const std::vector<std::string_view>& pattern,
                                  const std::vector<std::string>& path, const LambdaPlace& place) {
  if (request.body.size() > kMaxBody) {
    return tl::unexpected(
        RequestTooLarge(fmt::format("Request must be smaller than {} bytes for this operation", kMaxBody)));
  }
  auto query = http::ParseQuery(request.query);
  if (!query) return tl::unexpected(InvalidRequestContent(query.error().Message()));
  auto input = LambdaInput::Parse(request.body);
  if (!input) return tl::unexpected(input.error());
  LambdaCall call{{}, "", *std::move(query), *std::move(input)};
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == kName) call.name = path[i];
    if (pattern[i] != kFunction && pattern[i] != kArn) continue;
    auto function = ParseFunctionName(path[i], call.Query("Qualifier"), place);
    if (!function) return tl::unexpected(function.error());
    call.function = *std::move(function);
  }
  return call;
}

}  // namespace

LambdaApi::LambdaApi(registry::Registry& registry, registry::CodeStore& codes, node::Deployments& deployments,
                     LambdaOptions options)
    : registry_(registry), codes_(codes), deployments_(deployments), options_(std::move(options)) {}

std::optional<HttpResponse> LambdaApi::Handle(const HttpRequest& request) {
  const auto path = http::SplitPath(request.path);
  if (!path) return std::nullopt;
  bool knows_path = false;
  for (const auto& route : Routes()) {
    if (!Matches(route.path, *path)) continue;
    knows_path = true;
    if (route.method != request.method) continue;
    auto call = MakeCall(request, route.path, *path, options_.place);
    auto response = call ? Run(route.operation, *call) : ToResponse(call.error());
    response.headers.emplace_back("x-amzn-RequestId", RandomUuid());
    return response;
  }
  if (!knows_path) return std::nullopt;
  return ToResponse(
      {404, "UnknownOperationException", fmt::format("{} does not take {}", request.path, request.method), ""});
}

HttpResponse LambdaApi::Run(Operation operation, LambdaCall& call) {
  const auto answer = (this->*operation)(call);
  if (!answer) return ToResponse(answer.error());
  if (answer->zip.empty()) return JsonResponse(answer->status, answer->json);
  HttpResponse response;
  response.status = answer->status;
  response.headers.emplace_back("Content-Type", "application/zip");
  response.body = answer->zip;
  return response;
}

LambdaResult<registry::FunctionVersion> LambdaApi::Find(const FunctionName& function) {
  auto found = registry_.GetFunction(function.name, function.qualifier);
  if (!found) return tl::unexpected(Refusal(found.error(), function));
  return *std::move(found);
}

// What most operations say when the registry refuses.
LambdaError LambdaApi::Refusal(const Error& error, const FunctionName& function) const {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return FunctionNotFound(options_.place, function);
    case ErrorCode::kUnavailable:
      return ResourceConflict(error.Message());
    case ErrorCode::kIncompatible:
      return PreconditionFailed(
          "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve "
          "the latest RevisionId");
    default:
      return FromError(error);
  }
}

std::string LambdaApi::ArnOf(const FunctionName& function) const {
  return FunctionArn(options_.place, function.name, function.qualifier);
}

nlohmann::json LambdaApi::Describe(const registry::FunctionVersion& version, std::string_view qualifier) const {
  const bool has_snapshot = deployments_.HasSnapshot(version);
  return ConfigurationAnswer(version, options_.place, qualifier,
                             has_snapshot ? OwnSnapshot::kInUse : OwnSnapshot::kNone, deployments_.Runtimes());
}

std::string MarkerOf(const std::string& next) { return EncodeBase64(next); }

LambdaResult<registry::Page> PageOf(const LambdaCall& call, uint32_t max_items) {
  registry::Page page;
  page.limit = kPageLimit;
  if (const auto text = call.Query("MaxItems")) {
    uint32_t number = 0;
    const auto* end = text->data() + text->size();
    const auto parsed = std::from_chars(text->data(), end, number);
    const bool is_number = parsed.ec == std::errc() && parsed.ptr == end;
    if (!is_number || number < 1 || number > max_items) {
      return tl::unexpected(ConstraintViolated(
          *text, "maxItems",
          is_number && number < 1 ? "Member must have value greater than or equal to 1"
                                  : fmt::format("Member must have value less than or equal to {}", max_items)));
    }
    page.limit = std::min<size_t>(number, kPageLimit);
  }
  if (const auto marker = call.Query("Marker"); marker && !marker->empty()) {
    auto after = DecodeBase64(*marker);
    if (!after) return tl::unexpected(InvalidParameterValue("The Marker is none that this node has answered"));
    page.after = *std::move(after);
  }
  return page;
}

}  // namespace snapfaas::gateway
