// The bootstrap of compiled programs: docs/guest_contract.md, "Agent and bootstrap" and "Request channel". The function
// is a program named `bootstrap` that speaks the Lambda Runtime API, as on AWS Lambda's provided runtimes.
//
// Everything up to the line "ready" is in the snapshot. Starting the function's program cannot be: it is the one exec
// behind a base snapshot. In a function's own snapshot the program runs already.

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bootstrap/native/function.h"
#include "bootstrap/native/runtime_api.h"
#include "bootstrap/native/warm_up.h"

namespace snapfaas::guest::native {
namespace {

constexpr int kChannelFd = 3;
constexpr int kControlInFd = 4;
constexpr int kControlOutFd = 5;
constexpr char kDefaultAddress[] = "127.0.0.1:9001";
constexpr char kDefaultFolder[] = "/var/task";

std::string FromEnvironment(const char* name, const char* otherwise) {
  const char* value = ::getenv(name);
  return value == nullptr ? otherwise : value;
}

// A new machine's loopback interface is down.
void BringLoopbackUp() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (fd < 0 || ::ioctl(fd, SIOCGIFFLAGS, &request) != 0) Die("no loopback interface: %s", std::strerror(errno));
  if ((request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
    if (::ioctl(fd, SIOCSIFFLAGS, &request) != 0) Die("cannot bring up lo: %s", std::strerror(errno));
  }
  ::close(fd);
}

// The function gets none of the descriptors that are between the host, the agent and us.
void KeepFromFunction(int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

void Load(const std::string& line, RuntimeApi& api, FunctionProcess& function) {
  if (line.starts_with("fail ")) return api.Fail({"Runtime.InitError", line.substr(5)});
  if (!line.starts_with("load ")) Die("the agent said '%.80s'", line.c_str());
  // The seed is for generators of a language; programs have the kernel's, which is new already.
  const bool snapshot = line.ends_with(" checkpoint");
  const std::string folder = FromEnvironment("LAMBDA_TASK_ROOT", kDefaultFolder);
  Configuration configuration;
  auto error = ReadConfiguration(folder, configuration);
  if (!error) error = function.Start(folder, configuration, api.address(), snapshot);
  if (!error) return api.Begin(&function, snapshot ? RuntimeApi::Snapshot::kWanted : RuntimeApi::Snapshot::kNone);
  if (configuration.deployed) std::fprintf(stderr, "[ERROR] %s: %s\n", error->type.c_str(), error->message.c_str());
  api.Fail(*error);
}

[[noreturn]] void Run() {
  ::signal(SIGPIPE, SIG_IGN);
  for (const int fd : {kChannelFd, kControlInFd, kControlOutFd}) KeepFromFunction(fd);
  BringLoopbackUp();
  WarmUp();
  const Control control(kControlInFd, kControlOutFd);
  RuntimeApi api(kChannelFd, control);
  api.Listen(FromEnvironment("AWS_LAMBDA_RUNTIME_API", kDefaultAddress));
  FunctionProcess function;
  control.Say("ready");
  Load(control.ReadLine(), api, function);
  for (;;) api.Turn(-1);
}

}  // namespace
}  // namespace snapfaas::guest::native

int main(int count, char** arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--version") == 0) {
    std::puts("Lambda Runtime API 2018-06-01");
    return 0;
  }
  snapfaas::guest::native::Run();
}
