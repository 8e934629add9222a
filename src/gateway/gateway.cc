#include "gateway/gateway.h"

#include <fmt/format.h>

#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/uuid.h"
#include "gateway/access.h"
#include "gateway/http_server.h"
#include "gateway/lambda_error.h"
#include "gateway/lambda_invoke.h"
#include "gateway/native_api.h"
#include "gateway/worker_pool.h"

namespace snapfaas::gateway {
namespace {

constexpr const char* kRequestId = "X-Amzn-RequestId";
// Reading, hashing and checking so much takes well under a millisecond.
constexpr size_t kSmallBody = 64 * 1024;
// 50 MB in base64, and the rest of the request.
constexpr uint64_t kMaxUploadBytes = 70 * 1024 * 1024;

int64_t NowSeconds() { return RealtimeNanos() / 1'000'000'000; }

bool IsUpload(const HttpRequest& head) {
  std::string_view path = head.path;
  if (path.ends_with('/')) path.remove_suffix(1);
  return (head.method == "POST" && path == "/2015-03-31/functions") ||
         (head.method == "PUT" && path.starts_with("/2015-03-31/functions/") && path.ends_with("/code"));
}

// In the words of whom the request is for.
HttpResponse Refusal(const HttpRequest& head, const LambdaError& error) {
  if (FindUrlTarget(head)) {
    return {error.status,
            {{"Content-Type", "application/json"}},
            nlohmann::json{{"message", error.message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  }
  if (NativeApi::IsFor(head)) {
    const nlohmann::json json = {{"error", {{"code", error.code}, {"message", error.message}}}};
    return {error.status,
            {{"Content-Type", "application/json"}},
            json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  }
  return ToResponse(error);
}

}  // namespace

class Gateway::Impl : public HttpHandler {
 public:
  Impl(const GatewayOptions& options, const GatewayServices& services)
      : services_(services),
        access_(options.credentials),
        workers_(options.workers, options.max_waiting_for_workers),
        invoke_(services.invoker, services.events, workers_, options.place),
        urls_(
            services.invoker, services.find_url,
            [this](const HttpRequest& request) { return access_.Signer(request, NowSeconds()); },
            options.place.account),
        native_(services.view) {}

  Status Listen(const GatewayOptions& options) {
    HttpServerOptions server_options;
    server_options.address = options.address;
    server_options.port = options.port;
    server_options.threads = options.threads;
    auto server = HttpServer::Start(server_options, *this);
    if (!server) return Forward(server.error());
    server_ = std::move(*server);
    return {};
  }

  uint16_t port() const { return server_->port(); }

  void Stop(std::chrono::milliseconds grace) {
    if (server_) server_->Stop(grace);
    workers_.Stop();
  }

  void Handle(HttpRequest request, Responder responder) override {
    std::string id = RandomUuid();
    responder.AddField(kRequestId, id);
    const bool is_for_url = FindUrlTarget(request).has_value();
    if (request.path == "/healthz" && !is_for_url) {
      return responder.Send({200, {{"Content-Type", "text/plain"}}, "ok\n"});
    }
    const bool is_quick = request.body.size() <= kSmallBody && LambdaInvoke::IsFor(request) && !is_for_url;
    if (is_quick) return Serve(std::move(request), id, std::move(responder));
    HandleOnWorker(std::move(request), std::move(id), std::move(responder));
  }

  uint64_t MaxBody(const HttpRequest& head) override {
    return IsUpload(head) && !FindUrlTarget(head) ? kMaxUploadBytes : kMaxEventBytes;
  }

  HttpResponse Refuse(ServerRefusal refusal, const HttpRequest& head) override {
    HttpResponse response = Refusal(head, WhyRefused(refusal, head));
    response.headers.emplace_back(kRequestId, RandomUuid());
    return response;
  }

 private:
  LambdaError WhyRefused(ServerRefusal refusal, const HttpRequest& head) {
    switch (refusal) {
      case ServerRefusal::kMalformed:
        return InvalidRequestContent("This is not an HTTP request");
      case ServerRefusal::kBodyTooLarge:
        if (LambdaInvoke::IsFor(head)) return LambdaInvoke::TooLarge(kMaxEventBytes);
        return RequestTooLarge(fmt::format("Request must be smaller than {} bytes", MaxBody(head)));
      case ServerRefusal::kExpectation:
        return {417, "ExpectationFailedException", "Of Expect, only 100-continue is supported", ""};
      case ServerRefusal::kHeadTooLarge:
        return {431, "RequestHeaderFieldsTooLargeException", "The header fields are too large together", ""};
      case ServerRefusal::kOverloaded:
        break;
    }
    return ServiceUnavailable("Too many big requests are under way: try again");
  }

  void HandleOnWorker(HttpRequest request, std::string id, Responder responder) {
    // A std::function must be copyable.
    const auto shared_request = std::make_shared<HttpRequest>(std::move(request));
    const auto shared_responder = std::make_shared<Responder>(std::move(responder));
    const bool taken = workers_.Post([this, shared_request, shared_responder, id = std::move(id)] {
      Serve(std::move(*shared_request), id, std::move(*shared_responder));
    });
    if (taken) return;
    HttpResponse refused = Refusal(*shared_request, TooManyRequests("CallerRateLimitExceeded"));
    refused.headers.emplace_back("Retry-After", "1");
    shared_responder->Send(std::move(refused));
  }

  void Serve(HttpRequest request, const std::string& id, Responder responder) {
    if (const auto target = FindUrlTarget(request)) {
      return urls_.Handle(request, *target, id, std::move(responder));
    }
    if (request.path == "/metrics") {
      return responder.Send({200, {{"Content-Type", Metrics::kContentType}}, services_.metrics.Text(services_.view)});
    }
    if (const auto refusal = access_.Check(request, NowSeconds())) {
      return responder.Send(Refusal(request, {403, refusal->type, refusal->message, ""}));
    }
    if (LambdaInvoke::IsFor(request)) return invoke_.Handle(std::move(request), id, std::move(responder));
    if (NativeApi::IsFor(request)) return native_.Handle(request, std::move(responder));
    auto managed = services_.manage(request);
    responder.Send(
        managed ? std::move(*managed)
                : ToResponse({404, "UnknownOperationException",
                              fmt::format("{} {} is no operation of this node", request.method, request.path), ""}));
  }

  const GatewayServices services_;
  const AccessControl access_;
  WorkerPool workers_;
  LambdaInvoke invoke_;
  FunctionUrls urls_;
  NativeApi native_;
  std::unique_ptr<HttpServer> server_;
};

Result<std::unique_ptr<Gateway>> Gateway::Create(const GatewayOptions& options, const GatewayServices& services) {
  const auto is_loopback = IsLoopback(options.address);
  if (!is_loopback) return Forward(is_loopback.error());
  if (!*is_loopback && !options.credentials && options.remote_access == RemoteAccess::kNeedsCredentials) {
    return Fail(ErrorCode::kInvalidArgument,
                "listening at {} without credentials would let everybody on the network run code here: configure an "
                "access key and a secret key, or listen at 127.0.0.1",
                options.address);
  }
  auto impl = std::make_unique<Impl>(options, services);
  auto listening = impl->Listen(options);
  if (!listening) return Forward(listening.error());
  return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

Gateway::Gateway(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Gateway::~Gateway() { Stop(std::chrono::milliseconds(0)); }

uint16_t Gateway::port() const { return impl_->port(); }

void Gateway::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace snapfaas::gateway
