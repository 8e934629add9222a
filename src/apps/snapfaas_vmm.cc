// snapfaas-vmm: one microVM, driven over a control socket (wire/messages.h). Started by a launcher, not by people.
#include <fcntl.h>
#include <fmt/core.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "base/units.h"
#include "vmm/control_server.h"

namespace {

// A stack of the usual 8 MiB is large enough for the kernel to give it a huge page: 2 MiB for each microVM, of which a
// vCPU's thread uses some KiB.
void UseSmallStacks() {
  constexpr size_t kStackBytes = 256 * 1024;
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  if (::pthread_attr_setstacksize(&attributes, kStackBytes) == 0) ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace

int main(int argc, char** argv) {
  using snapfaas::operator""_MiB;
  int control_fd = -1;
  uint64_t memory_mib = 128;
  uint32_t vcpus = 1;
  CLI::App app("One SnapFaaS microVM; started by 'snapfaas' with a control socket.");
  app.add_option("--control-fd", control_fd, "descriptor of the control socket")->required();
  app.add_option("--memory-mib", memory_mib, "memory of the VM in MiB");
  app.add_option("--vcpus", vcpus, "number of vCPUs");
  CLI11_PARSE(app, argc, argv);

  UseSmallStacks();
  // A log pipe whose reader is gone must not end the VM.
  std::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  snapfaas::UniqueFd control(control_fd);
  if (::fcntl(control_fd, F_SETFD, FD_CLOEXEC) != 0) {
    fmt::print(stderr, "snapfaas-vmm: descriptor {} is not open\n", control_fd);
    return 2;
  }
  auto served = snapfaas::vmm::ControlServer::Serve(std::move(control), {memory_mib * 1_MiB, vcpus});
  return served ? 0 : 1;
}
