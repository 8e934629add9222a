#include "snapshot/pagemap.h"

#include <fcntl.h>

#include "base/units.h"
#include "snapshot/io.h"

namespace snapfaas::snapshot {

Pagemap::Pagemap(const uint8_t* base)
    : pagemap_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)),
      first_(reinterpret_cast<uintptr_t>(base) / kPageSize) {}

void Pagemap::Load(uint64_t page, size_t count) {
  entries_.assign(count, kPresent);
  if (!pagemap_.valid()) return;
  auto* raw = reinterpret_cast<uint8_t*>(entries_.data());
  const uint64_t offset = (first_ + page) * sizeof(uint64_t);
  if (!ReadAt(pagemap_.get(), offset, {raw, count * sizeof(uint64_t)}, "/proc/self/pagemap")) {
    entries_.assign(count, kPresent);
  }
}

}  // namespace snapfaas::snapshot
