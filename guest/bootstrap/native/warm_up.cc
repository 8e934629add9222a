#include "bootstrap/native/warm_up.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "bootstrap/native/channel.h"
#include "bootstrap/native/function.h"
#include "bootstrap/native/report.h"
#include "bootstrap/native/runtime_api.h"

namespace snapfaas::guest::native {
namespace {

// Of the base system and the runtime's packages: what `ldd` says of ordinary programs in C, C++ and Go.
constexpr const char* kLibraries[] = {
    "/etc/ld.so.cache",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
};

// A mapping keeps the file's inode in the kernel's cache, where the agent's dropping of caches would not leave it, and
// its DAX entries, once the agent has touched every page (MapFilesOf).
void KeepMapped(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd >= 0 && ::fstat(fd, &status) == 0 && status.st_size > 0) {
    // Never unmapped; a library that cannot be mapped is not warm, that is all.
    (void)!::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
  }
  if (fd >= 0) ::close(fd);
}

// A dynamically linked program of no consequence, so that starting one is nothing new to the kernel.
void StartSomething() {
  char name[] = "true";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  pid_t pid = -1;
  if (::posix_spawn(&pid, "/bin/true", nullptr, nullptr, arguments, environment) != 0) return;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

int Connect(const std::string& address) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<uint16_t>(std::strtoul(address.c_str() + address.find(':') + 1, nullptr, 10)));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) {
    Die("the loopback interface does not work: %s", std::strerror(errno));
  }
  return fd;
}

void Put(int fd, std::string_view text) {
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
    Die("the loopback interface does not work: %s", std::strerror(errno));
  }
}

void PutFrame(int fd, std::string_view kind, std::string_view payload) {
  Put(fd, std::string(kind) + " " + std::to_string(payload.size()) + "\n" + std::string(payload));
}

// What comes, after a few turns of the loop at most.
std::string Get(RuntimeApi& api, int fd) {
  std::array<char, 1024> text{};
  for (int turn = 0; turn < 1000; ++turn) {
    api.Turn(1);
    const ssize_t got = ::recv(fd, text.data(), text.size(), MSG_DONTWAIT);
    if (got > 0) return {text.data(), static_cast<size_t>(got)};
  }
  Die("the Runtime API does not answer");
}

// Plays the host and the function to a Runtime API of its own.
void Invoke() {
  int channel[2];
  int control[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0 || ::pipe2(control, O_CLOEXEC) != 0) {
    Die("cannot make a socket pair: %s", std::strerror(errno));
  }
  {
    RuntimeApi api(channel[0], Control(control[0], control[1]));
    api.Listen("127.0.0.1:0");
    api.Begin(nullptr, RuntimeApi::Snapshot::kNone);
    const int function = Connect(api.address());
    constexpr std::string_view kNext = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (const char* outcome : {"response", "error"}) {
      PutFrame(
          channel[1], "context",
          R"({"requestId":"r","functionName":"f","invokedFunctionArn":"arn","deadlineMs":1,"memoryLimitInMB":128})");
      PutFrame(channel[1], "event", R"({"n":1})");
      Put(function, kNext);
      Get(api, function);
      const std::string body = R"({"errorMessage":"m","errorType":"t","stackTrace":["s"]})";
      Put(function, std::string("POST /2018-06-01/runtime/invocation/r/") + outcome +
                        " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                        body);
      Get(api, function);
      Get(api, channel[1]);
    }
    ::close(function);
    api.Turn(1);
  }
  for (const int fd : {channel[0], channel[1], control[0], control[1]}) ::close(fd);
}

}  // namespace

void WarmUp() {
  Invoke();
  StartSomething();
  for (const char* path : kLibraries) KeepMapped(path);
}

}  // namespace snapfaas::guest::native
