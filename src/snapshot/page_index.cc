#include "snapshot/page_index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>

#include "base/units.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/kernel_text.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kBytesAtOnce = 1_MiB;

}  // namespace

Result<PageIndex> PageIndex::Build(const MemorySources& sources) {
  PageIndex index(sources);
  auto added = index.Add(PageSource::kKernel);
  if (!added) return Forward(added.error());
  // A text that is appended to a kernel has some pages that the kernel has too, and is to be found as a whole.
  auto text = sources.kernel_fd < 0 ? Result<TextRange>() : FindKernelText(sources.kernel_fd);
  if (!text) return Forward(text.error());
  const auto rank = [&text](const Entry& entry) {
    return std::tuple(entry.hash, !text->Has(entry.place.page), entry.place.page);
  };
  const auto earlier = [&rank](const Entry& a, const Entry& b) { return rank(a) < rank(b); };
  std::sort(index.by_hash_.begin(), index.by_hash_.end(), earlier);
  return index;
}

Status PageIndex::Add(PageSource source) {
  const int fd = sources_.FdOf(source);
  if (fd < 0) return {};
  auto size = SizeOf(fd, NameOf(source));
  if (!size) return Forward(size.error());
  // What no run could name is left out.
  const uint64_t pages = std::min<uint64_t>(*size / kPageSize, std::numeric_limits<uint32_t>::max());
  hashes_[static_cast<size_t>(source)].reserve(pages);
  by_hash_.reserve(by_hash_.size() + pages);
  std::vector<uint8_t> buffer(kBytesAtOnce);
  for (uint64_t page = 0; page < pages; page += kBytesAtOnce / kPageSize) {
    const auto bytes = std::span(buffer).first(std::min(kBytesAtOnce, (pages - page) * kPageSize));
    auto read = ReadAt(fd, page * kPageSize, bytes, NameOf(source));
    if (!read) return read;
    AddPages(source, page, bytes);
  }
  return {};
}

void PageIndex::AddPages(PageSource source, uint64_t first_page, std::span<const uint8_t> pages) {
  for (; !pages.empty(); pages = pages.subspan(kPageSize), ++first_page) {
    const uint64_t hash = Hash64(pages.first(kPageSize));
    hashes_[static_cast<size_t>(source)].push_back(hash);
    by_hash_.push_back({hash, {source, static_cast<uint32_t>(first_page)}});
  }
}

Result<PagePlace> PageIndex::Find(std::span<const uint8_t> page, const PagePlace& likely) const {
  if (by_hash_.empty()) return PagePlace();
  const uint64_t hash = Hash64(page);
  if (HasHash(likely, hash)) {
    auto equal = Equals(likely, page);
    if (!equal) return Forward(equal.error());
    if (*equal) return likely;
  }
  const auto before = [](const Entry& entry, uint64_t wanted) { return entry.hash < wanted; };
  auto entry = std::lower_bound(by_hash_.begin(), by_hash_.end(), hash, before);
  for (; entry != by_hash_.end() && entry->hash == hash; ++entry) {
    auto equal = Equals(entry->place, page);
    if (!equal) return Forward(equal.error());
    if (*equal) return entry->place;
  }
  return PagePlace();
}

bool PageIndex::HasHash(const PagePlace& place, uint64_t hash) const {
  const auto& hashes = hashes_[static_cast<size_t>(place.source)];
  return place.page < hashes.size() && hashes[place.page] == hash;
}

Result<bool> PageIndex::Equals(const PagePlace& place, std::span<const uint8_t> page) const {
  std::array<uint8_t, kPageSize> bytes;
  auto read = ReadAt(sources_.FdOf(place.source), place.page * kPageSize, bytes, NameOf(place.source));
  if (!read) return Forward(read.error());
  return std::memcmp(bytes.data(), page.data(), kPageSize) == 0;
}

}  // namespace snapfaas::snapshot
