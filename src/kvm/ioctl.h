// ioctl(2) on a KVM descriptor, retried when a signal interrupts it.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>

namespace snapfaas::kvm {

template <typename Argument>
int Ioctl(int fd, unsigned long request, Argument argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

inline int Ioctl(int fd, unsigned long request) { return Ioctl(fd, request, 0); }

}  // namespace snapfaas::kvm
