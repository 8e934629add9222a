#include "gateway/function_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "gateway/lambda_invoke.h"
#include "http/canonical_request.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

using Kind = node::InvocationAnswer::Kind;

constexpr std::string_view kPathPrefix = "/function-url/";
constexpr std::string_view kHostLabel = "lambda-url";

HttpResponse Message(int status, const char* message) {
  return {status, {{"Content-Type", "application/json"}}, Json{{"message", message}}.dump()};
}

std::string FieldOf(const HttpRequest& request, std::string_view name) {
  return std::string(FindField(request.headers, name).value_or(""));
}

// As bytes that are no UTF-8 cannot be in JSON.
std::string ToJsonText(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool IsUtf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

// Lambda hands all other bodies over in base64.
bool IsText(const HttpRequest& request) {
  const std::string type = http::ToLower(FieldOf(request, "Content-Type"));
  constexpr std::string_view kTypes[] = {"", "text/", "application/json", "application/javascript", "application/xml"};
  const bool has_text_type =
      type.empty() || std::any_of(std::begin(kTypes) + 1, std::end(kTypes),
                                  [&type](std::string_view one) { return type.starts_with(one); });
  return has_text_type && IsUtf8(request.body);
}

// "12/Mar/2020:19:03:58 +0000"
std::string EventTime(int64_t unix_ms) {
  const time_t seconds = unix_ms / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  const size_t size = std::strftime(text, sizeof text, "%d/%b/%Y:%H:%M:%S +0000", &parts);
  return {text, size};
}

// Of several of one name, the values joined by commas.
void AddJoined(Json& object, const std::string& name, const std::string& value) {
  const auto found = object.find(name);
  object[name] = found == object.end() ? value : found->get<std::string>() + "," + value;
}

Json EventHeaders(const HttpRequest& request) {
  Json headers = Json::object();
  for (const auto& [name, value] : request.headers) {
    const std::string lower = http::ToLower(name);
    if (lower != "cookie") AddJoined(headers, lower, value);
  }
  return headers;
}

Json EventCookies(const HttpRequest& request) {
  Json cookies = Json::array();
  for (const auto& [name, value] : request.headers) {
    if (http::ToLower(name) != "cookie") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(';'), rest.size());
      std::string_view cookie = rest.substr(0, end);
      while (!cookie.empty() && cookie.front() == ' ') cookie.remove_prefix(1);
      if (!cookie.empty()) cookies.push_back(cookie);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return cookies;
}

std::string ToText(const Json& value) { return value.is_string() ? value.get<std::string>() : ToJsonText(value); }

// Empty when the object is no response.
std::optional<HttpResponse> FromResponseObject(const Json& object) {
  const Json& status = object.at("statusCode");
  if (!status.is_number_integer() || status < 200 || status > 599) return std::nullopt;
  HttpResponse response;
  response.status = status.get<int>();
  if (const auto headers = object.find("headers"); headers != object.end() && headers->is_object()) {
    for (const auto& [name, value] : headers->items()) response.headers.emplace_back(name, ToText(value));
  }
  if (!FindField(response.headers, "Content-Type")) response.headers.emplace_back("Content-Type", "application/json");
  if (const auto cookies = object.find("cookies"); cookies != object.end() && cookies->is_array()) {
    for (const Json& cookie : *cookies) response.headers.emplace_back("Set-Cookie", ToText(cookie));
  }
  const auto body = object.find("body");
  if (body != object.end() && !body->is_null()) response.body = ToText(*body);
  const auto encoded = object.find("isBase64Encoded");
  if (encoded != object.end() && encoded->is_boolean() && encoded->get<bool>()) {
    auto decoded = DecodeBase64(response.body);
    if (!decoded) return std::nullopt;
    response.body = std::move(*decoded);
  }
  return response;
}

HttpResponse FromPayload(std::string payload) {
  const Json json = Json::parse(payload, nullptr, false);
  if (json.is_object() && json.contains("statusCode")) {
    return FromResponseObject(json).value_or(Message(502, "Internal Server Error"));
  }
  return {200, {{"Content-Type", "application/json"}}, std::move(payload)};
}

std::string Join(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, ",")); }

bool Contains(const std::vector<std::string>& list, std::string_view one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

}  // namespace

std::optional<UrlTarget> FindUrlTarget(const HttpRequest& head) {
  if (head.path.starts_with(kPathPrefix)) {
    const std::string rest = head.path.substr(kPathPrefix.size());
    const size_t slash = std::min(rest.find('/'), rest.size());
    return UrlTarget{rest.substr(0, slash), slash < rest.size() ? rest.substr(slash) : "/"};
  }
  const std::string host = http::ToLower(FieldOf(head, "Host"));
  const size_t dot = host.find('.');
  if (dot == std::string::npos) return std::nullopt;
  const std::string_view rest = std::string_view(host).substr(dot + 1);
  if (rest.substr(0, rest.find('.')) != kHostLabel || rest.size() == kHostLabel.size()) return std::nullopt;
  return UrlTarget{host.substr(0, dot), head.path};
}

std::string MakeUrlEvent(const HttpRequest& request, const UrlTarget& target, const UrlEventContext& context) {
  const std::string host = FieldOf(request, "Host");
  Json event = {
      {"version", "2.0"},
      {"routeKey", "$default"},
      {"rawPath", target.path},
      {"rawQueryString", request.query},
      {"headers", EventHeaders(request)},
      {"requestContext",
       {{"accountId", context.caller ? context.account : "anonymous"},
        {"apiId", target.id},
        {"domainName", host.substr(0, host.rfind(':'))},
        {"domainPrefix", target.id},
        {"http",
         {{"method", request.method},
          {"path", target.path},
          {"protocol", "HTTP/1.1"},
          {"sourceIp", request.peer},
          {"userAgent", FieldOf(request, "User-Agent")}}},
        {"requestId", context.request_id},
        {"routeKey", "$default"},
        {"stage", "$default"},
        {"time", EventTime(context.unix_ms)},
        {"timeEpoch", context.unix_ms}}},
      {"isBase64Encoded", false},
  };
  if (context.caller) {
    event["requestContext"]["authorizer"]["iam"] = {
        {"accessKey", *context.caller}, {"accountId", context.account},
        {"callerId", *context.caller},  {"userArn", fmt::format("arn:aws:iam::{}:root", context.account)},
        {"userId", *context.caller},
    };
  }
  if (Json cookies = EventCookies(request); !cookies.empty()) event["cookies"] = std::move(cookies);
  if (const auto query = http::ParseQuery(request.query); query && !query->empty()) {
    Json& parameters = event["queryStringParameters"];
    for (const auto& [name, value] : *query) AddJoined(parameters, name, value);
  }
  if (!request.body.empty()) {
    const bool is_text = IsText(request);
    event["isBase64Encoded"] = !is_text;
    event["body"] = is_text ? request.body : EncodeBase64(request.body);
  }
  return ToJsonText(event);
}

HttpResponse FromUrlAnswer(node::InvocationAnswer answer) {
  switch (answer.kind) {
    case Kind::kNotFound:
      return Message(404, "Not Found");
    case Kind::kNotReady:
    case Kind::kUnavailable:
    case Kind::kCancelled:
      return Message(503, "Service Unavailable");
    case Kind::kThrottled: {
      HttpResponse response = Message(429, "Rate Exceeded.");
      response.headers.emplace_back("Retry-After", "1");
      return response;
    }
    case Kind::kAnswered:
      break;
  }
  const bool has_failed = !answer.function_error.empty() || answer.payload.size() > kMaxAnswerBytes;
  HttpResponse response = has_failed ? Message(502, "Internal Server Error") : FromPayload(std::move(answer.payload));
  AddTimings(answer, response.headers);
  return response;
}

void ApplyCors(const registry::Cors& cors, std::string_view origin, HttpResponse& response) {
  auto& headers = response.headers;
  std::erase_if(headers, [](const auto& field) { return http::ToLower(field.first).starts_with("access-control-"); });
  const bool is_any = Contains(cors.allow_origins, "*");
  if (origin.empty() || (!is_any && !Contains(cors.allow_origins, origin))) return;
  if (is_any && !cors.allow_credentials) {
    headers.emplace_back("Access-Control-Allow-Origin", "*");
  } else {
    headers.emplace_back("Access-Control-Allow-Origin", origin);
    headers.emplace_back("Vary", "Origin");
  }
  if (cors.allow_credentials) headers.emplace_back("Access-Control-Allow-Credentials", "true");
  if (!cors.expose_headers.empty()) {
    headers.emplace_back("Access-Control-Expose-Headers", Join(cors.expose_headers));
  }
}

std::optional<HttpResponse> AnswerPreflight(const registry::Cors& cors, const HttpRequest& request) {
  const std::string origin = FieldOf(request, "Origin");
  const std::string method = FieldOf(request, "Access-Control-Request-Method");
  if (request.method != "OPTIONS" || origin.empty() || method.empty()) return std::nullopt;
  HttpResponse response;
  ApplyCors(cors, origin, response);
  if (response.headers.empty()) return response;
  auto& headers = response.headers;
  if (!cors.allow_methods.empty()) headers.emplace_back("Access-Control-Allow-Methods", Join(cors.allow_methods));
  if (!cors.allow_headers.empty()) headers.emplace_back("Access-Control-Allow-Headers", Join(cors.allow_headers));
  if (cors.max_age_s > 0) headers.emplace_back("Access-Control-Max-Age", std::to_string(cors.max_age_s));
  return response;
}

void FunctionUrls::Handle(const HttpRequest& request, const UrlTarget& target, const std::string& request_id,
                          Responder responder) {
  auto url = find_(target.id);
  if (!url) {
    const bool is_missing = url.error().code == ErrorCode::kNotFound;
    return responder.Send(is_missing ? Message(404, "Not Found") : Message(500, "Internal Server Error"));
  }
  const std::optional<registry::Cors> cors = url->cors;
  if (cors) {
    if (auto preflight = AnswerPreflight(*cors, request)) return responder.Send(std::move(*preflight));
  }
  const std::string origin = FieldOf(request, "Origin");
  const auto finish = [cors, origin](HttpResponse response) {
    if (cors) ApplyCors(*cors, origin, response);
    return response;
  };
  const Caller caller = url->auth == registry::UrlAuth::kAwsIam ? authenticate_(request) : std::nullopt;
  if (url->auth == registry::UrlAuth::kAwsIam && !caller) {
    return responder.Send(
        finish(Message(403,
                       "Forbidden: this function URL takes signed requests only (AuthType AWS_IAM), and the node must "
                       "have credentials to check them with")));
  }
  node::Invocation invocation;
  invocation.function = url->function;
  invocation.qualifier = url->qualifier;
  invocation.request_id = request_id;
  invocation.event = MakeUrlEvent(request, target, {request_id, account_, RealtimeNanos() / 1'000'000, caller});
  InvokeFor(std::move(responder), invoker_, std::move(invocation),
            [finish](node::InvocationAnswer answer) { return finish(FromUrlAnswer(std::move(answer))); });
}

}  // namespace snapfaas::gateway
