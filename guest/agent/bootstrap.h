// The language bootstrap: the one child of the agent, started before the snapshot (docs/guest_contract.md, "Agent and
// bootstrap").
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace snapfaas::guest {

class Bootstrap {
 public:
  // Starts the command of /etc/snapfaas/bootstrap with the two ports; takes both descriptors over. Ends the VM when it
  // cannot.
  Bootstrap(int request_port, int log_port);

  Bootstrap(const Bootstrap&) = delete;
  Bootstrap& operator=(const Bootstrap&) = delete;
  ~Bootstrap() = default;

  pid_t pid() const { return pid_; }

  // The next control line without its newline, cut to `size`. False when the bootstrap has closed its end.
  bool ReadLine(char* line, size_t size);

  // `line` ends in a newline.
  void Send(const char* line);

  // Waits for the bootstrap's end and switches the VM off: without it there is nothing to serve.
  [[noreturn]] void OutliveAndPowerOff();

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace snapfaas::guest
