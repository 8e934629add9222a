#include "host/exec_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace snapfaas::host {

Result<UniqueFd> ListenForExec(uint16_t port) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return FailErrno(errno, "opening the exec server's socket");
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), SOMAXCONN) != 0) {
    return FailErrno(errno, "listening on port {} for exec connections", port);
  }
  return listener;
}

Status ServeExecForever(const UniqueFd& listener, const Token& token, const SessionHooks& hooks) {
  // Ended sessions need no wait(2).
  ::signal(SIGCHLD, SIG_IGN);
  for (;;) {
    UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return FailErrno(errno, "accepting an exec connection");
    }
    const pid_t pid = ::fork();
    if (pid != 0) continue;  // without a process the client sees a closed connection
    ::signal(SIGCHLD, SIG_DFL);
    const auto status = ServeExecConnection(std::move(client), token, hooks);
    ::_exit(status ? 0 : 1);
  }
}

}  // namespace snapfaas::host
