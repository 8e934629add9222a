// HttpServer: HTTP/1.1 over TCP, on a few threads of its own (Boost.Beast; RFC 9112).
//
// Each connection takes one request after the other: head, body, handler, answer. Requests sent ahead (pipelined) wait
// in the socket. While a handler works, the connection watches whether its client goes: one that closes, or only stops
// sending, has gone.
//
// Limits, so that no client can hold more than its share: heads of 64 KB, bodies as the handler allows for their path,
// bodies of all connections together, connections, and time: for a connection without a request, for a head, and for
// bodies and answers by their size. "Expect: 100-continue" is answered before the body is read.
//
// The server writes Date, Server, Content-Length, Transfer-Encoding and Connection; fields of an answer by these names,
// and those that HTTP does not allow, are left out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gateway/http_message.h"
#include "gateway/responder.h"

namespace snapfaas::gateway {

// What the server itself answers, in the handler's words.
enum class ServerRefusal {
  kMalformed,     // 400
  kBodyTooLarge,  // 413
  kExpectation,   // 417
  kHeadTooLarge,  // 431
  kOverloaded,    // 503: the bodies of all connections are too much together
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // On a thread of the server: must not block.
  virtual void Handle(HttpRequest request, Responder responder) = 0;

  // Bytes of body that a request with this head may have.
  virtual uint64_t MaxBody(const HttpRequest& head) = 0;

  // `head` is empty where it could not be read.
  virtual HttpResponse Refuse(ServerRefusal refusal, const HttpRequest& head) = 0;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;  // 0: any that is free
  unsigned threads = 2;
  size_t max_connections = 8192;
  uint64_t max_total_body_bytes = 1U << 30;
  std::chrono::milliseconds idle_timeout{75'000};
  std::chrono::milliseconds head_timeout{10'000};
  // For a body or an answer: this, and a second for each 256 KB.
  std::chrono::milliseconds transfer_timeout{30'000};
};

// Whether only this machine can reach it. kInvalidArgument when it is no IP address; "localhost" is 127.0.0.1.
Result<bool> IsLoopback(const std::string& address);

class HttpServer {
 public:
  // Listens from now on. REQUIRES: the handler outlives the server. kUnavailable when the port is taken.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, HttpHandler& handler);

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();  // Stop without grace

  uint16_t port() const;
  size_t connections() const;

  // Refuses new connections and ends those without a request and the streams; lets running requests have their answers
  // within `grace`, then ends them as if their clients had gone. Returns when all threads have ended.
  void Stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::gateway
