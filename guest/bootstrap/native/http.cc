#include "bootstrap/native/http.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

namespace snapfaas::guest::native {
namespace {

constexpr size_t kMaxChunkLine = 256;
// An answer to a head that was refused is worth waiting for, but not for ever.
constexpr size_t kMaxDrainedAtOnce = size_t{256} << 10;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameName(std::string_view one, std::string_view other) {
  return one.size() == other.size() &&
         std::equal(one.begin(), one.end(), other.begin(), [](char a, char b) { return Lower(a) == Lower(b); });
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The next line of `text` without its end, which may be "\r\n" or "\n"; nothing when there is no whole one.
std::optional<std::string_view> NextLine(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return {};
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The bytes of `text` up to and with its first empty line; 0 when there is none.
size_t EndOfLines(std::string_view text) {
  size_t start = 0;
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', start)) {
    if (end == start || (end == start + 1 && text[start] == '\r')) return end + 1;
    start = end + 1;
  }
  return 0;
}

// Of lines that end in an empty one, the others.
std::string_view WithoutEmptyLine(std::string_view lines) {
  lines.remove_suffix(lines.ends_with("\r\n") ? 2 : 1);
  return lines;
}

// RFC 9110, 5.6.2.
bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (Lower(c) >= 'a' && Lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
  });
}

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Request Entity Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

}  // namespace

std::string_view Fields::Get(std::string_view name) const {
  std::string_view rest = lines_;
  while (const auto line = NextLine(rest)) {
    const size_t colon = line->find(':');
    if (colon != std::string_view::npos && SameName(line->substr(0, colon), name)) return Trim(line->substr(colon + 1));
  }
  return {};
}

size_t Fields::Count(std::string_view name) const {
  size_t count = 0;
  std::string_view rest = lines_;
  while (const auto line = NextLine(rest)) count += SameName(line->substr(0, line->find(':')), name) ? 1U : 0U;
  return count;
}

bool Fields::WellFormed() const {
  std::string_view rest = lines_;
  while (const auto line = NextLine(rest)) {
    const size_t colon = line->find(':');
    if (colon == std::string_view::npos || !IsToken(line->substr(0, colon))) return false;
    if (line->find('\0') != std::string_view::npos || line->find('\r') != std::string_view::npos) return false;
  }
  return true;
}

Connection::~Connection() { Close(); }

void Connection::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  phase_ = Phase::kClosed;
  lent_ = {};
}

void Connection::Lose() {
  if (owned_) {
    owned_ = false;
    owner_.LoseRequest(*this);
  }
  body_ = nullptr;
}

short Connection::WantedEvents() const {
  if (phase_ == Phase::kClosed) return 0;
  const bool writes = out_sent_ < out_.size() || lends_body();
  // A client that waits for its response has nothing to say; that it is gone must be seen.
  if (phase_ == Phase::kAnswering) return static_cast<short>(POLLRDHUP | (writes ? POLLOUT : 0));
  return static_cast<short>(POLLIN | (writes ? POLLOUT : 0));
}

void Connection::HandleEvents(short events) {
  if (closed() || events == 0) return;
  if ((events & POLLOUT) != 0) Flush();
  if (closed()) return;
  if (phase_ == Phase::kAnswering) {
    if ((events & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
      Lose();
      Close();
    }
    return;
  }
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) Read();
  Process();
}

void Connection::Read() {
  if (phase_ == Phase::kDraining) {
    for (size_t drained = 0; drained < kMaxDrainedAtOnce;) {
      const ssize_t got = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return Close();
      drained += static_cast<size_t>(got);
    }
    return;
  }
  if (phase_ == Phase::kLength && begin_ == end_ && body_ != nullptr && body_->size < body_->capacity) {
    return ReadBodyInPlace();
  }
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) return;
  const ssize_t got = ::recv(fd_, buffer_.data() + end_, buffer_.size() - end_, 0);
  if (got > 0) {
    end_ += static_cast<size_t>(got);
  } else if (got == 0 || errno != EAGAIN) {
    Lose();
    Close();
  }
}

// A large body is copied once only, by the kernel.
void Connection::ReadBodyInPlace() {
  const size_t room = body_->capacity - body_->size;
  const ssize_t got = ::recv(fd_, body_->data + body_->size, std::min<uint64_t>(room, left_), 0);
  if (got > 0) {
    body_->size += static_cast<size_t>(got);
    body_->total += static_cast<uint64_t>(got);
    left_ -= static_cast<uint64_t>(got);
  } else if (got == 0 || errno != EAGAIN) {
    Lose();
    Close();
  }
}

void Connection::Process() {
  while (!closed() && Step()) {
  }
}

// False: this connection can do no more for now.
bool Connection::Step() {
  switch (phase_) {
    case Phase::kHead:
      return TakeHead();
    case Phase::kLength:
    case Phase::kChunk:
      return TakeBody();
    case Phase::kChunkSize:
      return TakeChunkSize();
    case Phase::kChunkEnd:
      return TakeChunkEnd();
    case Phase::kTrailers:
      return TakeTrailers();
    case Phase::kAnswering:
    case Phase::kDraining:
    case Phase::kClosed:
      break;
  }
  return false;
}

bool Connection::TakeHead() {
  // Empty lines before a request are passed over (RFC 9112, 2.2).
  while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) ++begin_;
  std::string_view text = Ahead();
  const size_t length = EndOfLines(text);
  if (length == 0) return text.size() == buffer_.size() ? Refuse(431) : false;
  text = text.substr(0, length);
  std::string_view line = *NextLine(text);

  Head head;
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Refuse(400);
  const std::string_view version = line.substr(last + 1);
  if (!version.starts_with("HTTP/")) return Refuse(400);
  const bool is_1_1 = version == "HTTP/1.1";
  if (!is_1_1 && version != "HTTP/1.0") return Refuse(505);
  head.method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  head.path = target.substr(0, target.find('?'));
  head.fields = Fields(WithoutEmptyLine(text));
  if (!IsToken(head.method) || !target.starts_with('/') || target.find(' ') != std::string_view::npos ||
      !head.fields.WellFormed()) {
    return Refuse(400);
  }
  begin_ += length;
  return BeginBody(head, is_1_1);
}

bool Connection::BeginBody(const Head& head, bool is_1_1) {
  const std::string_view connection = head.fields.Get("Connection");
  close_ = is_1_1 ? SameName(connection, "close") : !SameName(connection, "keep-alive");
  const std::string_view coding = head.fields.Get("Transfer-Encoding");
  const std::string_view length = head.fields.Get("Content-Length");
  const bool chunked = !coding.empty();
  // Two statements of where a body ends are an attack or a mistake (RFC 9112, 6.3).
  if (head.fields.Count("Content-Length") + head.fields.Count("Transfer-Encoding") > 1) return Refuse(400);
  if (chunked && (!is_1_1 || !SameName(coding, "chunked"))) return Refuse(501);
  left_ = 0;
  if (!length.empty()) {
    const auto parsed = std::from_chars(length.data(), length.data() + length.size(), left_);
    if (parsed.ec != std::errc() || parsed.ptr != length.data() + length.size()) return Refuse(400);
  }
  const bool waits = is_1_1 && (chunked || left_ > 0) && SameName(head.fields.Get("Expect"), "100-continue");
  responded_ = false;
  owned_ = true;
  body_ = owner_.BeginRequest(*this, head);
  if (waits && begin_ == end_) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    Flush();
    if (closed()) return false;
  }
  phase_ = chunked ? Phase::kChunkSize : Phase::kLength;
  return true;
}

void Connection::Keep(std::string_view piece) {
  if (body_ == nullptr) return;
  body_->total += piece.size();
  const size_t kept = std::min(piece.size(), body_->capacity - body_->size);
  if (kept > 0) std::memcpy(body_->data + body_->size, piece.data(), kept);
  body_->size += kept;
}

bool Connection::TakeBody() {
  const std::string_view piece = Ahead().substr(0, std::min<uint64_t>(left_, end_ - begin_));
  Keep(piece);
  begin_ += piece.size();
  left_ -= piece.size();
  if (left_ > 0) return false;
  if (phase_ == Phase::kLength) return EndRequest(Fields());
  phase_ = Phase::kChunkEnd;
  return true;
}

bool Connection::TakeChunkSize() {
  std::string_view rest = Ahead();
  const size_t before = rest.size();
  const auto line = NextLine(rest);
  if (!line) return before > kMaxChunkLine ? Refuse(400) : false;
  const std::string_view digits = Trim(line->substr(0, line->find(';')));
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return Refuse(400);
  begin_ += before - rest.size();
  phase_ = left_ > 0 ? Phase::kChunk : Phase::kTrailers;
  return true;
}

bool Connection::TakeChunkEnd() {
  std::string_view rest = Ahead();
  const size_t before = rest.size();
  if (before == 0 || (before == 1 && rest[0] == '\r')) return false;
  const auto line = NextLine(rest);
  if (!line || !line->empty()) return Refuse(400);
  begin_ += before - rest.size();
  phase_ = Phase::kChunkSize;
  return true;
}

bool Connection::TakeTrailers() {
  const std::string_view text = Ahead();
  const size_t length = EndOfLines(text);
  if (length == 0) return text.size() == buffer_.size() ? Refuse(431) : false;
  const Fields trailers(text.substr(0, length - (text[length - 2] == '\r' ? 2 : 1)));
  if (!trailers.WellFormed()) return Refuse(400);
  begin_ += length;
  return EndRequest(trailers);
}

bool Connection::EndRequest(const Fields& trailers) {
  phase_ = Phase::kAnswering;
  body_ = nullptr;
  owner_.EndRequest(*this, trailers);
  return true;
}

void Connection::PutResponse(int status, std::string_view fields, size_t body_bytes) {
  char line[96];
  const int length = std::snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", status,
                                   Reason(status), body_bytes);
  out_.append(line, static_cast<size_t>(length));
  out_ += fields;
  if (close_) out_ += "Connection: close\r\n";
  out_ += "\r\n";
  responded_ = true;
}

void Connection::Respond(int status, std::string_view fields, std::string_view body) {
  PutResponse(status, fields, body.size());
  out_ += body;
  Flush();
}

void Connection::RespondLending(int status, std::string_view fields, std::string_view body) {
  PutResponse(status, fields, body.size());
  lent_ = body;
  Flush();
}

// After it the client's bytes have no meaning any more.
bool Connection::Refuse(int status) {
  Lose();
  close_ = true;
  phase_ = Phase::kAnswering;
  Respond(status, "", "");
  return false;
}

void Connection::Flush() {
  while (out_sent_ < out_.size() || lends_body()) {
    const iovec pieces[] = {{out_.data() + out_sent_, out_.size() - out_sent_},
                            // sendmsg only reads it.
                            {const_cast<char*>(lent_.data()), lent_.size()}};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces);
    message.msg_iovlen = 2;
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
      Lose();
      return Close();
    }
    const size_t of_out = std::min(static_cast<size_t>(sent), out_.size() - out_sent_);
    out_sent_ += of_out;
    lent_.remove_prefix(static_cast<size_t>(sent) - of_out);
  }
  out_.clear();
  out_sent_ = 0;
  if (phase_ != Phase::kAnswering || !responded_) return;
  owned_ = false;
  if (close_) {
    // A close with bytes unread would take the response along.
    ::shutdown(fd_, SHUT_WR);
    phase_ = Phase::kDraining;
  } else {
    phase_ = Phase::kHead;
  }
}

}  // namespace snapfaas::guest::native
