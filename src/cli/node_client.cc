#include "cli/node_client.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "cli/context.h"
#include "http/url.h"

namespace snapfaas::cli {
namespace {

constexpr char kDefaultEndpoint[] = "http://127.0.0.1:8480";
constexpr char kFunctions[] = "/2015-03-31/functions";

ErrorCode CodeOf(int status) {
  switch (status) {
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kAlreadyExists;
    case 401:
    case 403:
      return ErrorCode::kPermissionDenied;
    case 429:
      return ErrorCode::kResourceExhausted;
    default:
      return status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument;
  }
}

// Lambda spells it both ways.
std::string MessageOf(const Json& body) {
  const std::string message = TextOf(body, "message");
  return message.empty() ? TextOf(body, "Message") : message;
}

tl::unexpected<Error> Refusal(const HttpReply& reply, const std::string& url) {
  std::string message = MessageOf(Json::parse(reply.body, nullptr, /*allow_exceptions=*/false));
  if (message.empty()) message = fmt::format("the node at {} answered with status {}", url, reply.status);
  if (CodeOf(reply.status) == ErrorCode::kPermissionDenied) {
    message += "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the node's credentials";
  }
  return Fail(CodeOf(reply.status), "{}", message);
}

}  // namespace

void AddClientOptions(CLI::App& command, ClientOptions& options) {
  command.add_option("--endpoint", options.endpoint,
                     fmt::format("the node's URL (else $SNAPFAAS_ENDPOINT or {})", kDefaultEndpoint));
  command.add_flag("--json", options.json, "print JSON");
}

Result<NodeClient> NodeClient::Connect(const ClientOptions& options) {
  std::string url = options.endpoint;
  if (const char* value = std::getenv("SNAPFAAS_ENDPOINT"); url.empty() && value != nullptr) url = value;
  auto endpoint = ParseEndpoint(url.empty() ? kDefaultEndpoint : url);
  if (!endpoint) return Forward(endpoint.error());
  return NodeClient(HttpClient(*std::move(endpoint), CredentialsOfEnvironment(), ScopeOfEnvironment()));
}

Result<HttpReply> NodeClient::Send(const HttpCall& call) const {
  auto reply = http_.Send(call);
  if (reply && reply->status >= 300) return Refusal(*reply, url());
  return reply;
}

Result<Json> NodeClient::Call(const std::string& method, const std::string& target, const Json& body,
                              double timeout_seconds) const {
  HttpCall call{.method = method, .target = target, .timeout_seconds = timeout_seconds};
  if (!body.is_null()) {
    call.headers.emplace_back("Content-Type", "application/json");
    call.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  auto reply = Send(call);
  if (!reply) return Forward(reply.error());
  if (reply->body.empty()) return Json();
  Json answer = Json::parse(reply->body, nullptr, /*allow_exceptions=*/false);
  if (answer.is_discarded()) {
    return Fail(ErrorCode::kIncompatible, "what answers at {} is no SnapFaaS node: it sent no JSON", url());
  }
  return answer;
}

Result<std::vector<Json>> NodeClient::ListFunctions() const {
  std::vector<Json> functions;
  std::string marker;
  do {
    auto page = Call("GET", kFunctions + (marker.empty() ? "/" : "/?Marker=" + http::PercentEncode(marker)));
    if (!page) return Forward(page.error());
    const auto found = page->is_object() ? page->find("Functions") : page->end();
    if (found == page->end() || !found->is_array()) {
      return Fail(ErrorCode::kIncompatible, "what answers at {} is no SnapFaaS node: it lists no functions", url());
    }
    functions.insert(functions.end(), found->begin(), found->end());
    marker = TextOf(*page, "NextMarker");
  } while (!marker.empty());
  return functions;
}

std::string FunctionPath(const std::string& name, const std::string& rest) {
  return fmt::format("{}/{}{}", kFunctions, http::PercentEncode(name), rest);
}

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

double NumberOf(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

void OnParsed(CLI::App& command, std::shared_ptr<ClientOptions> options, ClientAction action, int& exit_code) {
  command.callback([options = std::move(options), action = std::move(action), &exit_code] {
    auto node = NodeClient::Connect(*options);
    auto code = node ? action(*node) : Result<int>(Forward(node.error()));
    if (code) {
      exit_code = *code;
      return;
    }
    exit_code = ReportFailure(code.error());
    if (code.error().code == ErrorCode::kInvalidArgument) exit_code = kExitUsage;
  });
}

void PrintJson(const Json& value) {
  fmt::print("{}\n", value.dump(2, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace snapfaas::cli
