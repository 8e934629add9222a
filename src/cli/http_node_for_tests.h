// HttpNodeForTests: an HTTP server on a port of its own, a thread for each connection, so that many requests may wait
// for their answers at a time. What it answers, the test decides.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/http_client.h"

namespace snapfaas::cli {

class HttpNodeForTests {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;

  struct Answer {
    int status = 200;
    std::string body = {};
    http::Fields headers = {};
    bool hang_up = false;  // instead of answering
  };

  // Called on many threads.
  using Script = std::function<Answer(const Request& request)>;

  explicit HttpNodeForTests(Script script)
      : script_(std::move(script)),
        acceptor_(context_, {boost::asio::ip::make_address("127.0.0.1"), 0}),
        acceptor_thread_([this] { Accept(); }) {}
  HttpNodeForTests(const HttpNodeForTests&) = delete;
  HttpNodeForTests& operator=(const HttpNodeForTests&) = delete;

  // What the script does must have ended, or end by itself.
  ~HttpNodeForTests() {
    stopping_ = true;
    Socket waker(context_);
    boost::system::error_code ignored;
    waker.connect(acceptor_.local_endpoint(), ignored);
    acceptor_thread_.join();
    for (Connection& connection : connections_) ::shutdown(connection.socket.native_handle(), SHUT_RDWR);
    for (Connection& connection : connections_) connection.thread.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  size_t connections() const { return connection_count_; }

  std::vector<Request> Seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  using Socket = boost::asio::ip::tcp::socket;

  struct Connection {
    explicit Connection(Socket accepted) : socket(std::move(accepted)) {}
    Socket socket;
    std::thread thread;
  };

  void Accept() {
    for (;;) {
      Socket socket(context_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (stopping_) return;
      if (error) continue;
      ++connection_count_;
      Connection& connection = connections_.emplace_back(std::move(socket));
      connection.thread = std::thread([this, &connection] { Serve(connection.socket); });
    }
  }

  void Serve(Socket& socket) {
    boost::beast::flat_buffer buffer;
    for (;;) {
      boost::system::error_code error;
      Request request;
      boost::beast::http::read(socket, buffer, request, error);
      if (error) return;
      {
        const std::lock_guard lock(mutex_);
        seen_.push_back(request);
      }
      Answer answer = script_(request);
      if (answer.hang_up) {
        ::shutdown(socket.native_handle(), SHUT_RDWR);
        return;
      }
      boost::beast::http::response<boost::beast::http::string_body> response;
      response.result(static_cast<unsigned>(answer.status));
      for (const auto& [name, value] : answer.headers) response.set(name, value);
      response.body() = std::move(answer.body);
      response.prepare_payload();
      boost::beast::http::write(socket, response, error);
      if (error) return;
    }
  }

  Script script_;
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> connection_count_ = 0;
  std::list<Connection> connections_;  // the acceptor's thread's, until that has ended
  mutable std::mutex mutex_;           // guards what follows
  std::vector<Request> seen_;
  std::thread acceptor_thread_;
};

}  // namespace snapfaas::cli
