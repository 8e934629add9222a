#include "gateway/responder.h"

namespace snapfaas::gateway {

// Callbacks are destroyed and called without the lock: they own things of their own.

void Exchange::AddField(std::string name, std::string value) {
  const std::lock_guard lock(mutex_);
  added_.emplace_back(std::move(name), std::move(value));
}

void Exchange::SetHead(HttpResponse head) {
  head_ = std::move(head);
  for (const auto& [name, value] : added_) {
    if (!FindField(head_->headers, name)) head_->headers.emplace_back(name, value);
  }
}

bool Exchange::Answer(HttpResponse response) {
  std::function<void()> dropped;
  const std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return false;
  state_ = State::kAnswered;
  dropped = std::exchange(on_disconnect_, nullptr);
  SetHead(std::move(response));
  if (wake_) wake_();
  return true;
}

bool Exchange::StartStream(HttpResponse head, size_t buffer_bytes) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return false;
  state_ = State::kStreaming;
  is_stream_ = true;
  buffer_bytes_ = buffer_bytes;
  SetHead(std::move(head));
  if (wake_) wake_();
  return true;
}

StreamWrite Exchange::Write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (gone_ || state_ != State::kStreaming) return StreamWrite::kGone;
  if (chunk_.size() + bytes.size() > buffer_bytes_) return StreamWrite::kFull;
  chunk_ += bytes;
  if (wake_) wake_();
  return StreamWrite::kTaken;
}

void Exchange::EndStream() {
  std::function<void()> dropped;
  const std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming) return;
  state_ = State::kAnswered;
  dropped = std::exchange(on_disconnect_, nullptr);
  if (wake_) wake_();
}

void Exchange::OnDisconnect(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kAnswered) return;
    if (!gone_) {
      std::swap(on_disconnect_, callback);
      return;
    }
  }
  callback();
}

Exchange::Work Exchange::Take() {
  const std::lock_guard lock(mutex_);
  Work work;
  work.head = std::exchange(head_, std::nullopt);
  work.is_stream = is_stream_;
  work.chunk = std::exchange(chunk_, {});
  work.is_last = state_ == State::kAnswered;
  return work;
}

bool Exchange::IsStreaming() {
  const std::lock_guard lock(mutex_);
  return state_ == State::kStreaming;
}

void Exchange::Disconnect() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    wake_ = nullptr;
    callback = std::exchange(on_disconnect_, nullptr);
  }
  if (callback) callback();
}

void Exchange::Detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

HttpStream::~HttpStream() {
  if (exchange_) exchange_->EndStream();
}

Responder::~Responder() {
  if (!exchange_) return;
  exchange_->Answer({500, {{"Content-Type", "application/json"}}, R"({"message":"Internal Server Error"})"});
}

HttpStream Responder::StartStream(HttpResponse head, size_t buffer_bytes) {
  exchange_->StartStream(std::move(head), buffer_bytes);
  return HttpStream(exchange_);
}

}  // namespace snapfaas::gateway
