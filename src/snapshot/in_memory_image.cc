#include "snapshot/in_memory_image.h"

#include <algorithm>
#include <vector>

#include "base/units.h"
#include "snapshot/io.h"
#include "snapshot/memory_file.h"

namespace snapfaas::snapshot {
namespace {

void CollapseAll(int fd, uint64_t bytes) { Collapse(fd, 0, bytes / kHugePageSize * kHugePageSize); }

}  // namespace

Result<InMemoryImage> InMemoryImage::Load(int fd, std::string_view what) {
  auto size = SizeOf(fd, what);
  if (!size) return Forward(size.error());
  auto memory = MakeMemfd("snapfaas-image");
  if (!memory) return Forward(memory.error());
  std::vector<uint8_t> buffer(1_MiB);
  for (uint64_t at = 0; at < *size; at += buffer.size()) {
    const auto bytes = std::span(buffer).first(std::min<uint64_t>(buffer.size(), *size - at));
    auto done = ReadAt(fd, at, bytes, what);
    if (done) done = WriteAt(memory->get(), at, bytes, what);
    if (!done) return Forward(done.error());
  }
  auto sealed = SealMemfd(memory->get());
  if (!sealed) return Forward(sealed.error());
  CollapseAll(memory->get(), *size);
  return InMemoryImage(std::move(*memory), *size);
}

Result<InMemoryImage> InMemoryImage::Of(std::span<const uint8_t> bytes, const char* name) {
  auto memory = MakeSealed(name, bytes);
  if (!memory) return Forward(memory.error());
  CollapseAll(memory->get(), bytes.size());
  return InMemoryImage(std::move(*memory), bytes.size());
}

}  // namespace snapfaas::snapshot
