// An interrupt line of the in-kernel controller behind an eventfd.
#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "devices/interrupt.h"

namespace snapfaas::vmm {

inline Result<UniqueFd> MakeEventFd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return FailErrno(errno, "making an eventfd");
  return fd;
}

class EventLine final : public devices::Interrupt {
 public:
  explicit EventLine(UniqueFd fd) : fd_(std::move(fd)) {}

  // A full counter means that edges are waiting to be delivered already.
  void Trigger() override { ::eventfd_write(fd_.get(), 1); }

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace snapfaas::vmm
