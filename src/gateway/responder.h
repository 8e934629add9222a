// Responder: how a handler answers a request, once, from any thread, now or much later; and how it hears that the
// client has gone, so that work nobody waits for can stop.
//
//      open ──Send──────────────────────────────> answered
//       │ └──destroyed: a 500 is sent────────────────┘
//       └──StartStream──> streaming ──HttpStream ends──> answered
//
// Exchange is what handler and connection share. The connection may end at any time before the handler does; what is
// sent then goes nowhere.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/http_message.h"

namespace snapfaas::gateway {

enum class StreamWrite {
  kTaken,
  kFull,  // the client reads too slowly: nothing was taken
  kGone,
};

class Exchange {
 public:
  // `wake` tells the connection that there is something to take. It is called from any thread and must not block.
  explicit Exchange(std::function<void()> wake) : wake_(std::move(wake)) {}

  // The handler's side. The first answer counts; false for others.
  void AddField(std::string name, std::string value);
  bool Answer(HttpResponse response);
  bool StartStream(HttpResponse head, size_t buffer_bytes);
  StreamWrite Write(std::string_view bytes);
  void EndStream();
  void OnDisconnect(std::function<void()> callback);

  // The connection's side.
  struct Work {
    std::optional<HttpResponse> head;
    bool is_stream = false;
    std::string chunk;     // of a stream, all that has been written since
    bool is_last = false;  // nothing comes after this
  };
  Work Take();
  bool IsStreaming();
  void Disconnect();  // calls the callback of OnDisconnect unless the request is answered; nothing wakes afterwards
  void Detach();      // nothing wakes afterwards

 private:
  enum class State { kOpen, kStreaming, kAnswered };

  void SetHead(HttpResponse head);

  std::mutex mutex_;  // guards what follows
  std::function<void()> wake_;
  std::function<void()> on_disconnect_;
  State state_ = State::kOpen;
  bool gone_ = false;
  bool is_stream_ = false;
  HttpFields added_;
  std::optional<HttpResponse> head_;
  std::string chunk_;
  size_t buffer_bytes_ = 0;
};

// A response whose body comes piece by piece. Ends when it is destroyed.
class HttpStream {
 public:
  explicit HttpStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  HttpStream(HttpStream&&) noexcept = default;
  HttpStream& operator=(HttpStream&&) = delete;
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;
  ~HttpStream();

  // All of `bytes` or nothing. From any thread; does not block.
  StreamWrite Write(std::string_view bytes) { return exchange_->Write(bytes); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  Responder(Responder&&) noexcept = default;
  Responder& operator=(Responder&&) = delete;
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;
  ~Responder();

  // Goes with whatever is sent later, unless that has a field of this name.
  void AddField(std::string name, std::string value) { exchange_->AddField(std::move(name), std::move(value)); }

  // Only the first counts.
  void Send(HttpResponse response) { exchange_->Answer(std::move(response)); }

  // At most `buffer_bytes` wait for the client. REQUIRES: nothing has been sent.
  HttpStream StartStream(HttpResponse head, size_t buffer_bytes);

  // Calls `callback` when the client goes before the whole answer is handed over; at once where it has gone. On a
  // thread of the server: it must be brief. The callback is dropped, uncalled, when the answer is there.
  void OnDisconnect(std::function<void()> callback) { exchange_->OnDisconnect(std::move(callback)); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace snapfaas::gateway
