// LoadConnections: keep-alive connections to a node, as many as there are requests at a time. Everything happens on the
// one thread of its executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "cli/http_client.h"

namespace snapfaas::cli {

struct LoadTarget {
  Endpoint endpoint;
  std::optional<http::Credentials> credentials;
  http::SigningScope scope;
};

struct TimedReply {
  int64_t sent_ns = 0;  // when the request was ready to go; a connection may have had to be made then
  int64_t done_ns = 0;
  // kUnavailable, kTimedOut: the node; kResourceExhausted: `max_open` connections are in use.
  Result<HttpReply> reply;
};

class LoadConnections {
 public:
  // Finds the node's address. kUnavailable: there is none.
  static Result<std::unique_ptr<LoadConnections>> Create(boost::asio::any_io_executor executor, LoadTarget target,
                                                         size_t max_open);
  LoadConnections(const LoadConnections&) = delete;
  LoadConnections& operator=(const LoadConnections&) = delete;
  ~LoadConnections();

  // Sends a request and waits for the whole answer. REQUIRES: this outlives it.
  boost::asio::awaitable<TimedReply> Send(HttpCall call);

 private:
  class Impl;
  explicit LoadConnections(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::cli
