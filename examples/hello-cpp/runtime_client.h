// A client for the Lambda Runtime API: plain sockets, one connection, the standard library alone. It runs on AWS
// Lambda's provided runtimes too.
#pragma once

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace lambda {

struct Event {
  std::string request_id;
  std::string body;           // JSON
  long long deadline_ms = 0;  // Unix time
  std::string arn;
  std::string client_context;  // JSON, or empty
};

class Runtime {
 public:
  Runtime() {
    const char* address = std::getenv("AWS_LAMBDA_RUNTIME_API");
    if (address == nullptr) throw std::runtime_error("AWS_LAMBDA_RUNTIME_API is not set");
    host_ = address;
    const size_t colon = host_.find(':');
    addrinfo wanted{};
    addrinfo* found = nullptr;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_NUMERICHOST;
    if (getaddrinfo(host_.substr(0, colon).c_str(), host_.substr(colon + 1).c_str(), &wanted, &found) != 0) {
      throw std::runtime_error("no address: " + host_);
    }
    fd_ = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    const int failed = connect(fd_, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (failed != 0) Throw("connect");
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  ~Runtime() { close(fd_); }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // To be called once, with everything loaded: where the function has a snapshot, it is taken here. Behind this call
  // the program is in a new machine: what was random before is known to others, and the clock has moved. False: there
  // is no snapshot.
  bool AwaitRestore() {
    const char* type = std::getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
    if (type == nullptr || std::string_view(type) != "snap-start") return false;
    Ask("GET", "restore/next", "");
    return true;
  }

  Event Next() {
    const Response response = Ask("GET", "invocation/next", "");
    return {response.Field("lambda-runtime-aws-request-id"), response.body,
            std::atoll(response.Field("lambda-runtime-deadline-ms").c_str()),
            response.Field("lambda-runtime-invoked-function-arn"), response.Field("lambda-runtime-client-context")};
  }

  // `answer` is JSON. Throws where it is too large; the caller has been told so then.
  void Respond(const Event& event, const std::string& answer) {
    Ask("POST", "invocation/" + event.request_id + "/response", answer);
  }

  // `report`: {"errorMessage":…,"errorType":…,"stackTrace":[…]}
  void Fail(const Event& event, const std::string& report) {
    Ask("POST", "invocation/" + event.request_id + "/error", report);
  }

  // The program cannot serve; it should end then.
  void FailInit(const std::string& report) { Ask("POST", "init/error", report); }

 private:
  struct Response {
    std::string head;  // in lower case but for the values
    std::string body;

    std::string Field(const std::string& name) const {
      const size_t at = head.find("\n" + name + ": ");
      if (at == std::string::npos) return "";
      const size_t begin = at + name.size() + 3;
      return head.substr(begin, head.find('\r', begin) - begin);
    }
  };

  [[noreturn]] static void Throw(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

  Response Ask(const char* method, const std::string& path, const std::string& body) {
    std::string request = std::string(method) + " /2018-06-01/runtime/" + path + " HTTP/1.1\r\nHost: " + host_ +
                          "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body;
    for (std::string_view rest = request; !rest.empty();) {
      const ssize_t sent = send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0) Throw("send");
      rest.remove_prefix(static_cast<size_t>(sent));
    }
    Response response;
    size_t end = 0;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos) Receive();
    response.head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    for (size_t line = 0; line < response.head.size(); line = response.head.find('\n', line) + 1) {
      for (size_t i = line; i < response.head.size() && response.head[i] != ':' && response.head[i] != '\n'; ++i) {
        if (response.head[i] >= 'A' && response.head[i] <= 'Z') response.head[i] += 'a' - 'A';
      }
    }
    const size_t length = std::strtoull(response.Field("content-length").c_str(), nullptr, 10);
    while (input_.size() < length) Receive();
    response.body = input_.substr(0, length);
    input_.erase(0, length);
    const std::string status = response.head.substr(response.head.find(' ') + 1, 3);
    if (status[0] != '2') throw std::runtime_error(path + ": " + status + " " + response.body);
    return response;
  }

  void Receive() {
    char piece[65536];
    const ssize_t got = recv(fd_, piece, sizeof(piece), 0);
    if (got < 0) Throw("recv");
    if (got == 0) throw std::runtime_error("the Runtime API has closed the connection");
    input_.append(piece, static_cast<size_t>(got));
  }

  int fd_ = -1;
  std::string host_;
  std::string input_;
};

}  // namespace lambda
