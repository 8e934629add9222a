#include "gateway/http_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/http_fields.h"

namespace snapfaas::gateway {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using net::ip::tcp;

constexpr uint32_t kHeadLimit = 64 * 1024;
constexpr size_t kBufferLimit = 2 * kHeadLimit;
// Of a refused request that its client still sends: read and thrown away, since closing at once could lose the answer.
constexpr uint64_t kDrainLimit = 128U << 20;

using Parser = beast::http::request_parser<beast::http::string_body>;

std::string ToString(beast::string_view text) { return {text.data(), text.size()}; }

// What a request asks of the form of its answer.
struct AnswerForm {
  unsigned version = 11;
  bool is_head = false;
  bool keep_alive = false;
};

template <typename Body>
beast::http::response<Body> MakeResponse(const HttpResponse& from, const AnswerForm& form) {
  const bool is_sane = from.status >= 200 && from.status <= 999;
  beast::http::response<Body> response(beast::http::int_to_status(200), form.version);
  response.result(is_sane ? static_cast<unsigned>(from.status) : 500U);
  for (const auto& [name, value] : from.headers) {
    if (MaySendField(name, value)) response.insert(name, value);
  }
  response.set(beast::http::field::server, "SnapFaaS");
  response.set(beast::http::field::date, HttpDate(std::time(nullptr)));
  response.keep_alive(form.keep_alive);
  return response;
}

HttpRequest HeadOf(const Parser& parser, std::string peer) {
  const auto& message = parser.get();
  HttpRequest head;
  head.method = ToString(message.method_string());
  head.target = ToString(message.target());
  const size_t question = std::min(head.target.find('?'), head.target.size());
  head.path = head.target.substr(0, question);
  head.query = head.target.substr(std::min(question + 1, head.target.size()));
  for (const auto& field : message) head.headers.emplace_back(ToString(field.name_string()), ToString(field.value()));
  head.peer = std::move(peer);
  return head;
}

// All but the constructor, BeginStop and Abort runs on the strand.
class Connection : public HttpConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionHost& host, tcp::socket socket)
      : host_(host), stream_(std::move(socket)), wake_timer_(stream_.get_executor()), buffer_(kBufferLimit) {
    error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    stream_.socket().set_option(net::socket_base::keep_alive(true), ignored);
    const auto endpoint = stream_.socket().remote_endpoint(ignored);
    if (!ignored) peer_ = endpoint.address().to_string();
  }

  void Start(std::function<void()> ended) override {
    net::co_spawn(stream_.get_executor(), Run(),
                  [self = shared_from_this(), ended = std::move(ended)](const std::exception_ptr&) { ended(); });
  }

  void BeginStop() override {
    net::post(stream_.get_executor(), [self = shared_from_this()] {
      if (self->is_idle_ || (self->exchange_ && self->exchange_->IsStreaming())) self->End();
    });
  }

  void Abort() override {
    net::post(stream_.get_executor(), [self = shared_from_this()] { self->End(); });
  }

 private:
  net::awaitable<void> Run() {
    bool goes_on = true;
    while (goes_on) goes_on = co_await ServeOne();
    stream_.close();
  }

  void End() {
    gone_ = true;
    Wake();
    stream_.close();
  }

  // One request. False when there is none, or when it is the last.
  net::awaitable<bool> ServeOne() {
    const bool has_begun = co_await AwaitRequest();
    if (!has_begun) co_return false;

    Parser parser;
    parser.header_limit(kHeadLimit);
    parser.body_limit(boost::none);
    stream_.expires_after(host_.options().head_timeout);
    const auto [error, size] = co_await beast::http::async_read_header(stream_, buffer_, parser, kAwait);
    if (error) co_return co_await RefuseHead(error);

    HttpRequest request = HeadOf(parser, peer_);
    const uint64_t limit = host_.handler().MaxBody(request);
    const auto length = parser.content_length();
    if (length && *length > limit) co_return co_await Refuse(ServerRefusal::kBodyTooLarge, request);
    const uint64_t expected = length ? *length : parser.chunked() ? limit : 0;
    const ConnectionHost::BodyShare share(host_, expected);
    if (!share.is_granted()) co_return co_await Refuse(ServerRefusal::kOverloaded, request);
    parser.body_limit(limit);

    const bool may_read = co_await AnswerExpectation(parser, request);
    if (!may_read) co_return false;
    stream_.expires_after(host_.TransferTime(expected));
    const auto [body_error, body_size] = co_await beast::http::async_read(stream_, buffer_, parser, kAwait);
    if (body_error == beast::http::error::body_limit) co_return co_await Refuse(ServerRefusal::kBodyTooLarge, request);
    if (body_error) co_return co_await RefuseHead(body_error);

    const AnswerForm form{parser.get().version(), request.method == "HEAD", parser.get().keep_alive()};
    request.body = std::move(parser.get().body());
    co_return co_await HandleAndAnswer(std::move(request), form);
  }

  // The first bytes of a request: until then nothing is lost when the connection ends.
  net::awaitable<bool> AwaitRequest() {
    if (buffer_.size() > 0) co_return true;
    if (host_.stopping() || gone_) co_return false;
    is_idle_ = true;
    stream_.expires_after(host_.options().idle_timeout);
    const auto space = buffer_.prepare(4096);
    const auto [error, size] = co_await stream_.async_read_some(space, kAwait);
    is_idle_ = false;
    buffer_.commit(size);
    co_return !error;
  }

  net::awaitable<bool> AnswerExpectation(const Parser& parser, const HttpRequest& request) {
    const auto expected = FindField(request.headers, "Expect");
    if (!expected || parser.get().version() < 11) co_return true;
    if (!IsSameName(*expected, "100-continue")) co_return co_await Refuse(ServerRefusal::kExpectation, request);
    const std::string_view answer = "HTTP/1.1 100 Continue\r\n\r\n";
    stream_.expires_after(host_.options().transfer_timeout);
    const auto [error, size] = co_await net::async_write(stream_, net::buffer(answer), kAwait);
    co_return !error;
  }

  net::awaitable<bool> HandleAndAnswer(HttpRequest request, AnswerForm form) {
    stream_.expires_never();
    exchange_ = std::make_shared<Exchange>(WakeFunction());
    host_.handler().Handle(std::move(request), Responder(exchange_));
    Watch();
    Exchange::Work work = exchange_->Take();
    while (!work.head && !gone_) {
      co_await AwaitWake();
      work = exchange_->Take();
    }
    bool is_done = false;
    if (work.head && work.is_stream) {
      is_done = co_await WriteStream(std::move(work), form);
    } else if (work.head) {
      StopWatching();
      is_done = co_await WriteWhole(std::move(*work.head), form);
    }
    StopWatching();
    // Calls the handler's callback unless it has answered in full.
    exchange_->Disconnect();
    exchange_.reset();
    co_return is_done && !gone_;
  }

  // True when the connection can take another request.
  net::awaitable<bool> WriteWhole(HttpResponse from, AnswerForm form) {
    form.keep_alive = form.keep_alive && !host_.stopping();
    const bool has_body = from.status >= 200 && from.status != 204 && from.status != 304;
    stream_.expires_after(host_.TransferTime(from.body.size()));
    error_code failure;
    if (form.is_head || !has_body) {
      auto response = MakeResponse<beast::http::empty_body>(from, form);
      if (has_body) response.content_length(from.body.size());
      const auto [error, size] = co_await beast::http::async_write(stream_, response, kAwait);
      failure = error;
    } else {
      auto response = MakeResponse<beast::http::string_body>(from, form);
      response.body() = std::move(from.body);
      response.content_length(response.body().size());
      const auto [error, size] = co_await beast::http::async_write(stream_, response, kAwait);
      failure = error;
    }
    co_return !failure && form.keep_alive;
  }

  net::awaitable<bool> WriteStream(Exchange::Work work, AnswerForm form) {
    const bool is_chunked = form.version >= 11;
    form.keep_alive = form.keep_alive && is_chunked && !host_.stopping();
    auto head = MakeResponse<beast::http::empty_body>(*work.head, form);
    head.chunked(is_chunked);
    beast::http::response_serializer<beast::http::empty_body> serializer(head);
    stream_.expires_after(host_.options().transfer_timeout);
    const auto [error, size] = co_await beast::http::async_write_header(stream_, serializer, kAwait);
    bool is_open = !error && !form.is_head;
    while (is_open) {
      if (!work.chunk.empty()) is_open = co_await WriteChunk(std::move(work.chunk), is_chunked);
      if (!is_open || gone_) break;
      if (work.is_last) break;
      stream_.expires_never();
      co_await AwaitWake();
      work = exchange_->Take();
      is_open = !gone_;
    }
    if (!is_open || gone_) co_return false;
    std::string nothing;
    const bool has_ended = co_await WriteChunk(std::move(nothing), is_chunked);
    co_return has_ended&& form.keep_alive;
  }

  // An empty one ends the stream.
  net::awaitable<bool> WriteChunk(std::string chunk, bool is_chunked) {
    stream_.expires_after(host_.TransferTime(chunk.size()));
    std::string framed = std::move(chunk);
    if (is_chunked) framed = fmt::format("{:x}\r\n{}\r\n", framed.size(), framed);
    const auto [error, size] = co_await net::async_write(stream_, net::buffer(framed), kAwait);
    co_return !error;
  }

  net::awaitable<bool> RefuseHead(error_code error) {
    const HttpRequest unread;  // named: g++ 12 destroys such temporaries of a co_await twice
    if (error == beast::http::error::header_limit || error == beast::http::error::buffer_overflow) {
      co_return co_await Refuse(ServerRefusal::kHeadTooLarge, unread);
    }
    const bool is_malformed = error.category() == make_error_code(beast::http::error::bad_method).category() &&
                              error != beast::http::error::end_of_stream &&
                              error != beast::http::error::partial_message;
    if (is_malformed) co_return co_await Refuse(ServerRefusal::kMalformed, unread);
    co_return false;
  }

  net::awaitable<bool> Refuse(ServerRefusal refusal, const HttpRequest& head) {
    HttpResponse response = host_.handler().Refuse(refusal, head);
    const AnswerForm form{11, head.method == "HEAD", false};
    co_await WriteWhole(std::move(response), form);
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(host_.options().transfer_timeout);
    std::vector<char> scratch(64 * 1024);
    for (uint64_t drained = 0; drained < kDrainLimit && !host_.stopping();) {
      const auto [error, size] = co_await stream_.async_read_some(net::buffer(scratch), kAwait);
      if (error) break;
      drained += size;
    }
    co_return false;
  }

  // Notices that the client has gone while nothing is read or written.
  void Watch() {
    stream_.socket().async_wait(tcp::socket::wait_read,
                                [self = shared_from_this(), watch = ++watch_](error_code error) {
                                  if (watch == self->watch_) self->OnReadable(error);
                                });
  }

  void StopWatching() {
    ++watch_;
    error_code ignored;
    stream_.socket().cancel(ignored);
  }

  void OnReadable(error_code error) {
    char byte = 0;
    const ssize_t size =
        error ? 0 : ::recv(stream_.socket().native_handle(), &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);
    // The next request came early. From here on only a write can tell.
    if (size > 0) return;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
      Watch();
      return;
    }
    gone_ = true;
    Wake();
  }

  net::awaitable<void> AwaitWake() {
    while (!woken_) {
      wake_timer_.expires_at(std::chrono::steady_clock::time_point::max());
      co_await wake_timer_.async_wait(kAwait);
    }
    woken_ = false;
  }

  void Wake() {
    woken_ = true;
    wake_timer_.cancel();
  }

  std::function<void()> WakeFunction() {
    return [weak = weak_from_this(), executor = stream_.get_executor()] {
      net::post(executor, [weak] {
        if (const auto self = weak.lock()) self->Wake();
      });
    };
  }

  ConnectionHost& host_;
  beast::tcp_stream stream_;
  net::steady_timer wake_timer_;
  beast::flat_buffer buffer_;
  std::string peer_;
  std::shared_ptr<Exchange> exchange_;  // of the request at work
  uint64_t watch_ = 0;                  // the watch that counts
  bool is_idle_ = false;
  bool woken_ = false;
  bool gone_ = false;
};

}  // namespace

std::shared_ptr<HttpConnection> HttpConnection::Create(ConnectionHost& host, tcp::socket socket) {
  return std::make_shared<Connection>(host, std::move(socket));
}

}  // namespace snapfaas::gateway
