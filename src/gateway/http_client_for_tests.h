// HttpClientForTests: a client of one blocking connection that sends what it is told, byte for byte. Every wait ends
// after 20 seconds with what has come so far, so that a server that does nothing fails the test instead of hanging it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "gateway/http_message.h"

namespace snapfaas::gateway {

class HttpClientForTests {
 public:
  struct Answer {
    int status = 0;  // 0: the connection ended first
    HttpFields headers;
    std::string body;

    std::string Header(std::string_view name) const { return std::string(FindField(headers, name).value_or("")); }
  };

  explicit HttpClientForTests(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // `headers`: whole lines.
  bool SendRequest(const std::string& method, const std::string& target, std::string_view body = {},
                   const std::string& headers = "") {
    const std::string host = headers.find("Host:") == std::string::npos ? "Host: localhost\r\n" : "";
    return Send(method + " " + target + " HTTP/1.1\r\n" + host + headers +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n") &&
           Send(body);
  }

  Answer Request(const std::string& method, const std::string& target, std::string_view body = {},
                 const std::string& headers = "") {
    SendRequest(method, target, body, headers);
    return method == "HEAD" ? ReadHead() : ReadAnswer();
  }

  Answer ReadHead() {
    Answer answer;
    const auto status_line = ReadLine();
    if (!status_line || status_line->size() < 12) return answer;
    answer.status = std::atoi(status_line->c_str() + 9);
    for (auto line = ReadLine(); line && !line->empty(); line = ReadLine()) {
      const size_t colon = line->find(':');
      answer.headers.emplace_back(line->substr(0, colon), line->substr(colon + 2));
    }
    return answer;
  }

  Answer ReadAnswer() {
    Answer answer = ReadHead();
    if (answer.Header("Transfer-Encoding") == "chunked") {
      for (auto chunk = ReadChunk(); chunk && !chunk->empty(); chunk = ReadChunk()) answer.body += *chunk;
    } else {
      answer.body = ReadExactly(std::strtoul(answer.Header("Content-Length").c_str(), nullptr, 10));
    }
    return answer;
  }

  // Empty: the last.
  std::optional<std::string> ReadChunk() {
    const auto size = ReadLine();
    if (!size) return std::nullopt;
    std::string chunk = ReadExactly(std::strtoul(size->c_str(), nullptr, 16));
    ReadLine();
    return chunk;
  }

  // Without its line break.
  std::optional<std::string> ReadLine() {
    for (;;) {
      const size_t end = buffer_.find("\r\n");
      if (end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 2);
        return line;
      }
      if (!Fill()) return std::nullopt;
    }
  }

  std::string ReadExactly(size_t size) {
    while (buffer_.size() < size && Fill()) {
    }
    std::string bytes = buffer_.substr(0, size);
    buffer_.erase(0, bytes.size());
    return bytes;
  }

  // Whether the server closes the connection, nothing more being sent.
  bool AwaitEnd() {
    while (Fill()) {
    }
    return has_ended_;
  }

  void Close() { fd_.Reset(); }

 private:
  bool Fill() {
    char bytes[16384];
    const ssize_t size = ::recv(fd_.get(), bytes, sizeof bytes, 0);
    if (size > 0) buffer_.append(bytes, static_cast<size_t>(size));
    has_ended_ = size == 0 || (size < 0 && (errno == ECONNRESET || errno == EPIPE));
    return size > 0;
  }

  UniqueFd fd_;
  bool connected_ = false;
  bool has_ended_ = false;
  std::string buffer_;
};

}  // namespace snapfaas::gateway
