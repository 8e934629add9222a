#include "cli/load_connections.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace snapfaas::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Request = beast::http::request<beast::http::string_body>;
using Endpoints = asio::ip::tcp::resolver::results_type;

// Sooner than a node would close it, lest a request meet the close.
constexpr int64_t kMaxIdleNanos = 20'000'000'000;

Request RequestOf(HttpCall call, const http::Fields& fields) {
  Request request;
  request.method_string(call.method);
  request.target(call.target);
  request.version(11);
  for (const auto& [name, value] : fields) request.set(name, value);
  request.body() = std::move(call.body);
  request.prepare_payload();
  return request;
}

// Short, since requests that fail alike are counted together.
tl::unexpected<Error> Explain(const boost::system::error_code& code) {
  if (code == beast::error::timeout) return Fail(ErrorCode::kTimedOut, "no answer in time");
  if (code == beast::http::error::end_of_stream || code == beast::http::error::partial_message ||
      code == asio::error::connection_reset || code == asio::error::broken_pipe) {
    return Fail(ErrorCode::kUnavailable, "the node closed the connection");
  }
  if (code == asio::error::connection_refused) return Fail(ErrorCode::kUnavailable, "no node answers");
  return Fail(ErrorCode::kUnavailable, "{}", code.message());
}

}  // namespace

class LoadConnections::Impl {
 public:
  Impl(asio::any_io_executor executor, LoadTarget target, Endpoints endpoints, size_t max_open)
      : executor_(std::move(executor)),
        target_(std::move(target)),
        endpoints_(std::move(endpoints)),
        max_open_(max_open) {}

  asio::awaitable<TimedReply> Send(HttpCall call) {
    TimedReply timed;
    const double timeout_seconds = call.timeout_seconds;
    const auto fields = FieldsOf(call, target_.endpoint, target_.credentials, target_.scope);
    if (!fields) {
      timed.sent_ns = timed.done_ns = MonotonicNanos();
      timed.reply = Forward(fields.error());
      co_return timed;
    }
    const Request request = RequestOf(std::move(call), *fields);
    auto connection = Take();
    timed.sent_ns = MonotonicNanos();
    if (connection == nullptr) {
      timed.reply = Fail(ErrorCode::kResourceExhausted, "the generator has all its {} connections in use", max_open_);
      timed.done_ns = timed.sent_ns;
      co_return timed;
    }
    timed.reply = co_await Exchange(*connection, endpoints_, request, timeout_seconds);
    timed.done_ns = MonotonicNanos();
    if (timed.reply && connection->is_connected) Keep(std::move(connection));
    co_return timed;
  }

 private:
  // A connection, made by the first request on it.
  struct Connection {
    Connection(const asio::any_io_executor& executor, size_t& count) : stream(executor), open(count) { ++open; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { --open; }

    beast::tcp_stream stream;
    beast::flat_buffer buffer;
    size_t& open;
    bool is_connected = false;
    int64_t idle_since_ns = 0;
  };

  static asio::awaitable<Result<HttpReply>> Exchange(Connection& connection, const Endpoints& endpoints,
                                                     const Request& request, double timeout_seconds) {
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    beast::tcp_stream& stream = connection.stream;
    // One deadline for all that follows.
    stream.expires_after(std::chrono::microseconds(static_cast<int64_t>(timeout_seconds * 1e6)));
    if (!connection.is_connected) {
      co_await stream.async_connect(endpoints, token);
      if (error) co_return Explain(error);
      connection.is_connected = true;
      stream.socket().set_option(asio::ip::tcp::no_delay(true), error);
    }
    co_await beast::http::async_write(stream, request, token);
    if (error) co_return Explain(error);
    beast::http::response_parser<beast::http::string_body> parser;
    parser.body_limit(kMaxReplyBytes);
    co_await beast::http::async_read(stream, connection.buffer, parser, token);
    if (error) co_return Explain(error);
    stream.expires_never();
    auto response = parser.release();
    connection.is_connected = response.keep_alive();
    HttpReply reply;
    reply.status = static_cast<int>(response.result_int());
    for (const auto& field : response) reply.headers.emplace_back(field.name_string(), field.value());
    reply.body = std::move(response.body());
    co_return reply;
  }

  // The one that was used last, so that those that are not needed grow old.
  std::unique_ptr<Connection> Take() {
    if (!idle_.empty() && MonotonicNanos() - idle_.back()->idle_since_ns > kMaxIdleNanos) idle_.clear();
    if (!idle_.empty()) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      return connection;
    }
    return open_ < max_open_ ? std::make_unique<Connection>(executor_, open_) : nullptr;
  }

  void Keep(std::unique_ptr<Connection> connection) {
    connection->idle_since_ns = MonotonicNanos();
    idle_.push_back(std::move(connection));
  }

  asio::any_io_executor executor_;
  const LoadTarget target_;
  const Endpoints endpoints_;
  const size_t max_open_;
  size_t open_ = 0;
  std::vector<std::unique_ptr<Connection>> idle_;
};

LoadConnections::LoadConnections(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoadConnections::~LoadConnections() = default;

Result<std::unique_ptr<LoadConnections>> LoadConnections::Create(asio::any_io_executor executor, LoadTarget target,
                                                                 size_t max_open) {
  boost::system::error_code error;
  asio::ip::tcp::resolver resolver(executor);
  auto endpoints = resolver.resolve(target.endpoint.host, std::to_string(target.endpoint.port), error);
  if (error) {
    return Fail(ErrorCode::kUnavailable, "there is no machine {}: {}", target.endpoint.host, error.message());
  }
  return std::unique_ptr<LoadConnections>(new LoadConnections(
      std::make_unique<Impl>(std::move(executor), std::move(target), std::move(endpoints), max_open)));
}

asio::awaitable<TimedReply> LoadConnections::Send(HttpCall call) { return impl_->Send(std::move(call)); }

}  // namespace snapfaas::cli
