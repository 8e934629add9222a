// Gateway: the node's HTTP front: Lambda's interface, function URLs, the native API, /metrics and /healthz.
//
// With credentials every request must be signed (SigV4, service "lambda"), but for /healthz, /metrics and function URLs
// of AuthType NONE. Without, whoever reaches the port may do everything: the gateway listens at loopback addresses only
// then, and refuses what a web page in a browser on this machine could send (an Origin, or a Host that is a foreign
// name).
//
// Small invocations are handed to the node on the server's threads; what blocks or takes long runs on a bounded pool of
// workers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "gateway/function_name.h"
#include "gateway/function_url.h"
#include "gateway/http_message.h"
#include "gateway/metrics.h"
#include "http/sigv4.h"
#include "node/invoker.h"
#include "node/node_view.h"

namespace snapfaas::gateway {

enum class RemoteAccess {
  kNeedsCredentials,
  kAllowed,  // whoever reaches the address is trusted: inside the emulated host, whose port is forwarded
};

struct GatewayOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8480;  // 0: any that is free
  unsigned threads = 2;
  unsigned workers = 8;
  size_t max_waiting_for_workers = 512;
  std::optional<http::Credentials> credentials;
  RemoteAccess remote_access = RemoteAccess::kNeedsCredentials;
  LambdaPlace place;
};

// All outlive the gateway and the invocations that it has begun.
struct GatewayServices {
  // Lambda's management operations; empty when the request is none. Blocks.
  std::function<std::optional<HttpResponse>(const HttpRequest& request)> manage;
  node::Invoker& invoker;
  node::EventAcceptor& events;
  node::NodeView& view;
  FunctionUrls::Find find_url;
  Metrics& metrics;
};

class Gateway {
 public:
  // Serves from now on. kInvalidArgument: an address that may not be listened at; kUnavailable: the port is taken.
  static Result<std::unique_ptr<Gateway>> Create(const GatewayOptions& options, const GatewayServices& services);

  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;
  ~Gateway();  // Stop without grace

  uint16_t port() const;

  // Refuses new connections, lets running requests end within `grace`, cancels the rest, and returns when all threads
  // have ended.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit Gateway(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::gateway
