#include "gateway/http_server.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "gateway/http_connection.h"

namespace snapfaas::gateway {
namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;
using std::chrono::milliseconds;

Result<net::ip::address> ParseAddress(const std::string& text) {
  error_code error;
  const auto address = net::ip::make_address(text == "localhost" ? "127.0.0.1" : text, error);
  if (error) return Fail(ErrorCode::kInvalidArgument, "'{}' is no IP address to listen at", text);
  return address;
}

}  // namespace

Result<bool> IsLoopback(const std::string& address) {
  auto parsed = ParseAddress(address);
  if (!parsed) return Forward(parsed.error());
  return parsed->is_loopback();
}

class HttpServer::Impl final : public ConnectionHost {
 public:
  Impl(const HttpServerOptions& options, HttpHandler& handler)
      : ConnectionHost(options, handler), acceptor_(net::make_strand(io_)), work_(io_.get_executor()) {}

  Status Listen() {
    const auto address = ParseAddress(options_.address);
    if (!address) return Forward(address.error());
    error_code error;
    const tcp::endpoint endpoint(*address, options_.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
    if (error == net::error::address_in_use) {
      return Fail(ErrorCode::kUnavailable, "{}:{} is in use by another program: stop it, or choose another port",
                  options_.address, options_.port);
    }
    if (error) return FailErrno(error.value(), "listening at {}:{}", options_.address, options_.port);
    const auto bound = acceptor_.local_endpoint(error);
    if (error) return FailErrno(error.value(), "listening at {}:{}", options_.address, options_.port);
    port_ = bound.port();
    return {};
  }

  void Start() {
    net::co_spawn(acceptor_.get_executor(), Accept(), [](const std::exception_ptr&) {});
    for (unsigned i = 0; i < std::max(options_.threads, 1U); ++i) {
      threads_.emplace_back([this] { io_.run(); });
    }
  }

  uint16_t port() const { return port_; }

  size_t connections() const {
    const std::lock_guard lock(mutex_);
    return connections_.size();
  }

  void Stop(milliseconds grace) {
    std::call_once(stop_once_, [this, grace] {
      {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
      }
      net::post(acceptor_.get_executor(), [this] {
        error_code ignored;
        acceptor_.close(ignored);
      });
      ForAll(&HttpConnection::BeginStop);
      const auto none_left = [this] { return connections_.empty(); };
      std::unique_lock lock(mutex_);
      if (!ended_.wait_for(lock, grace, none_left)) {
        lock.unlock();
        ForAll(&HttpConnection::Abort);
        lock.lock();
        ended_.wait(lock, none_left);
      }
      lock.unlock();
      work_.reset();
      for (auto& thread : threads_) thread.join();
    });
  }

 private:
  net::awaitable<void> Accept() {
    net::steady_timer pause(acceptor_.get_executor());
    while (!stopping_) {
      auto [error, socket] = co_await acceptor_.async_accept(net::make_strand(io_), kAwait);
      if (!error) {
        Add(std::move(socket));
      } else if (!stopping_) {
        // Out of descriptors, most likely: some connection will end.
        pause.expires_after(milliseconds(50));
        co_await pause.async_wait(kAwait);
      }
    }
  }

  void Add(tcp::socket socket) {
    const auto connection = HttpConnection::Create(*this, std::move(socket));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_ || connections_.size() >= options_.max_connections) return;
      connections_.insert(connection);
    }
    // Holding it weakly: the connection owns what it calls.
    connection->Start([this, weak = std::weak_ptr(connection)] {
      const std::lock_guard lock(mutex_);
      connections_.erase(weak.lock());
      if (connections_.empty()) ended_.notify_all();
    });
  }

  void ForAll(void (HttpConnection::*act)()) {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) (connection.get()->*act)();
  }

  net::io_context io_;
  tcp::acceptor acceptor_;
  net::executor_work_guard<net::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
  uint16_t port_ = 0;
  std::once_flag stop_once_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable ended_;
  std::unordered_set<std::shared_ptr<HttpConnection>> connections_;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, HttpHandler& handler) {
  auto impl = std::make_unique<Impl>(options, handler);
  auto listening = impl->Listen();
  if (!listening) return Forward(listening.error());
  impl->Start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { Stop(milliseconds(0)); }

uint16_t HttpServer::port() const { return impl_->port(); }

size_t HttpServer::connections() const { return impl_->connections(); }

void HttpServer::Stop(milliseconds grace) { impl_->Stop(grace); }

}  // namespace snapfaas::gateway
