#include "common/doorbell.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace snapfaas::guest {

MmioPage::MmioPage(const char* dev_mem, uint64_t address, Access access) {
  const bool write = access == Access::kReadWrite;
  // O_SYNC asks for an uncached mapping: every write must reach the host.
  const int fd = ::open(dev_mem, (write ? O_RDWR : O_RDONLY) | O_SYNC | O_CLOEXEC);
  if (fd < 0) return;
  void* mapping =
      ::mmap(nullptr, 0x1000, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, static_cast<off_t>(address));
  ::close(fd);
  if (mapping != MAP_FAILED) page_ = static_cast<volatile uint8_t*>(mapping);
}

void DoorbellPage::Ring(wire::Doorbell value) const {
  if (!page_.mapped()) return;
  *reinterpret_cast<volatile uint32_t*>(page_.bytes()) = static_cast<uint32_t>(value);
}

}  // namespace snapfaas::guest
