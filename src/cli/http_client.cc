#include "cli/http_client.h"

#include <fmt/format.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <exception>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "cli/environment.h"

namespace snapfaas::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Request = beast::http::request<beast::http::string_body>;
using Response = beast::http::response<beast::http::string_body>;

constexpr std::string_view kScheme = "http://";
constexpr std::chrono::seconds kConnectPatience{5};

// Exceptions of Beast are caught by Send.
asio::awaitable<Response> Exchange(const Endpoint& endpoint, const Request& request,
                                   std::chrono::milliseconds patience) {
  const auto executor = co_await asio::this_coro::executor;
  beast::tcp_stream stream(executor);
  stream.expires_after(kConnectPatience);
  asio::ip::tcp::resolver resolver(executor);
  const auto places =
      co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port), asio::use_awaitable);
  co_await stream.async_connect(places, asio::use_awaitable);
  stream.expires_after(patience);
  co_await beast::http::async_write(stream, request, asio::use_awaitable);
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.body_limit(kMaxReplyBytes);
  co_await beast::http::async_read(stream, buffer, parser, asio::use_awaitable);
  co_return parser.release();
}

tl::unexpected<Error> Explain(const Endpoint& endpoint, const boost::system::error_code& code) {
  if (code == asio::error::connection_refused || code == asio::error::host_not_found ||
      code == asio::error::host_unreachable || code == asio::error::network_unreachable) {
    return Fail(ErrorCode::kUnavailable, "no node answers at {}: start one with `snapfaas up`, or give --endpoint",
                endpoint.url);
  }
  if (code == beast::error::timeout) return Fail(ErrorCode::kTimedOut, "the node at {} does not answer", endpoint.url);
  if (code == beast::http::error::end_of_stream || code == beast::http::error::partial_message ||
      code == asio::error::connection_reset || code == asio::error::broken_pipe) {
    return Fail(ErrorCode::kUnavailable, "the node at {} has closed the connection: see its log", endpoint.url);
  }
  return Fail(ErrorCode::kUnavailable, "cannot speak to the node at {}: {}", endpoint.url, code.message());
}

Result<Response> Run(const Endpoint& endpoint, const Request& request, std::chrono::milliseconds patience) {
  asio::io_context context(1);
  Result<Response> result = Fail(ErrorCode::kUnavailable, "the exchange did not end");
  try {
    asio::co_spawn(context, Exchange(endpoint, request, patience),
                   [&result, &endpoint](const std::exception_ptr& failure, Response response) {
                     if (failure == nullptr) {
                       result = std::move(response);
                       return;
                     }
                     try {
                       std::rethrow_exception(failure);
                     } catch (const boost::system::system_error& error) {
                       result = Explain(endpoint, error.code());
                     }
                   });
    context.run();
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kSystem, "cannot speak to the node at {}: {}", endpoint.url, error.what());
  }
  return result;
}

}  // namespace

Result<Endpoint> ParseEndpoint(const std::string& url) {
  const auto refuse = [&url] {
    return Fail(ErrorCode::kInvalidArgument, "\"{}\" is no endpoint: it must look like http://127.0.0.1:8480", url);
  };
  if (!url.starts_with(kScheme)) return refuse();
  std::string_view rest = std::string_view(url).substr(kScheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  Endpoint endpoint;
  endpoint.url = std::string(kScheme) + std::string(rest);
  // An IPv6 address stands in brackets.
  const size_t after_host = rest.starts_with('[') ? rest.find(']') : 0;
  if (after_host == std::string_view::npos) return refuse();
  const size_t colon = rest.find(':', after_host);
  if (colon != std::string_view::npos) {
    const std::string_view port = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.begin(), port.end(), endpoint.port);
    if (error != std::errc() || end != port.end() || endpoint.port == 0) return refuse();
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[')) rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || rest.find_first_of("/?#@[] ") != std::string_view::npos) return refuse();
  endpoint.host = rest;
  return endpoint;
}

std::string HttpReply::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (beast::iequals(key, {name.data(), name.size()})) return value;
  }
  return {};
}

Result<http::Fields> FieldsOf(const HttpCall& call, const Endpoint& endpoint,
                              const std::optional<http::Credentials>& credentials, const http::SigningScope& scope) {
  http::Fields fields = call.headers;
  fields.emplace_back("Host", endpoint.url.substr(kScheme.size()));
  if (!credentials) return fields;
  const size_t question = std::min(call.target.find('?'), call.target.size());
  const std::string_view target = call.target;
  const std::string_view query = question < target.size() ? target.substr(question + 1) : std::string_view();
  auto added = http::SignRequest(*credentials, scope, RealtimeNanos() / 1'000'000'000,
                                 {call.method, target.substr(0, question), query, fields, call.body});
  if (!added) return Forward(added.error());
  fields.insert(fields.end(), added->begin(), added->end());
  return fields;
}

Result<HttpReply> HttpClient::Send(const HttpCall& call) const {
  const auto fields = FieldsOf(call, endpoint_, credentials_, scope_);
  if (!fields) return Forward(fields.error());
  Request request;
  request.method_string(call.method);
  request.target(call.target);
  request.version(11);
  for (const auto& [name, value] : *fields) request.set(name, value);
  request.keep_alive(false);
  request.body() = call.body;
  request.prepare_payload();
  auto response = Run(endpoint_, request, std::chrono::milliseconds(static_cast<int64_t>(call.timeout_seconds * 1e3)));
  if (!response) return Forward(response.error());
  HttpReply reply;
  reply.status = static_cast<int>(response->result_int());
  for (const auto& field : *response) reply.headers.emplace_back(field.name_string(), field.value());
  reply.body = std::move(response->body());
  return reply;
}

std::optional<http::Credentials> CredentialsOfEnvironment() {
  const auto access_key = Environment("AWS_ACCESS_KEY_ID");
  const auto secret_key = Environment("AWS_SECRET_ACCESS_KEY");
  if (access_key.empty() || secret_key.empty()) return std::nullopt;
  return http::Credentials{std::string(access_key), std::string(secret_key)};
}

http::SigningScope ScopeOfEnvironment() {
  http::SigningScope scope;
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (const auto region = Environment(name); !region.empty()) {
      scope.region = region;
      break;
    }
  }
  return scope;
}

}  // namespace snapfaas::cli
