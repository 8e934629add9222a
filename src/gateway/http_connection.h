// HttpConnection: one connection of the HTTP server, on a strand of its own.
//
//       ┌────────────────────────────answered────────────────────────────┐
//       v                                                                │
//     idle ──first byte──> head ──> body ──> handler at work ──────> answer
//       │                    │        │            │                    │
//       └─────────ends, times out, is stopped, or its client goes───────┴──> ended
//
// A refused request is answered, what its client still sends is read and thrown away, and the connection ends.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "gateway/http_server.h"

namespace snapfaas::gateway {

// An operation so waited for gives its error as a value; none is thrown.
inline constexpr auto kAwait = boost::asio::as_tuple(boost::asio::use_awaitable);

// What connections need of their server.
class ConnectionHost {
 public:
  ConnectionHost(const HttpServerOptions& options, HttpHandler& handler) : options_(options), handler_(handler) {}

  const HttpServerOptions& options() const { return options_; }
  HttpHandler& handler() { return handler_; }
  bool stopping() const { return stopping_; }

  std::chrono::milliseconds TransferTime(uint64_t bytes) const {
    return options_.transfer_timeout + std::chrono::milliseconds(1000 * bytes / kBytesPerSecond);
  }

  // A share of what all bodies may take together.
  class BodyShare {
   public:
    BodyShare(ConnectionHost& host, uint64_t bytes) : host_(host), bytes_(bytes) {
      is_granted_ = host_.body_bytes_.fetch_add(bytes_) + bytes_ <= host_.options_.max_total_body_bytes;
      if (!is_granted_) host_.body_bytes_ -= bytes_;
    }
    BodyShare(const BodyShare&) = delete;
    BodyShare& operator=(const BodyShare&) = delete;
    ~BodyShare() {
      if (is_granted_) host_.body_bytes_ -= bytes_;
    }

    bool is_granted() const { return is_granted_; }

   private:
    ConnectionHost& host_;
    const uint64_t bytes_;
    bool is_granted_ = false;
  };

 protected:
  ~ConnectionHost() = default;

  const HttpServerOptions options_;
  HttpHandler& handler_;
  std::atomic<bool> stopping_ = false;

 private:
  // The slowest that a transfer may be.
  static constexpr uint64_t kBytesPerSecond = 256 * 1024;

  std::atomic<uint64_t> body_bytes_ = 0;
};

// Lives while it is connected, whoever holds it.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;

  // REQUIRES: the host outlives it; the socket is on a strand.
  static std::shared_ptr<HttpConnection> Create(ConnectionHost& host, boost::asio::ip::tcp::socket socket);

  // Calls `ended` when it is over, on its strand. Once.
  virtual void Start(std::function<void()> ended) = 0;

  // From any thread; neither waits. The server takes no more requests: a connection without one ends, and one with a
  // stream.
  virtual void BeginStop() = 0;
  // It ends as if its client had gone.
  virtual void Abort() = 0;
};

}  // namespace snapfaas::gateway
