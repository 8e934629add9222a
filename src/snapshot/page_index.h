// PageIndex: finds a page of memory in the files that a microVM was booted from.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "snapshot/format.h"
#include "snapshot/memory_image.h"

namespace snapfaas::snapshot {

// Where a page's bytes are.
struct PagePlace {
  PageSource source = PageSource::kStored;
  uint32_t page = 0;  // of the source file; 0 for kStored

  bool operator==(const PagePlace&) const = default;
};

// Reads each source file once and keeps 24 bytes for each of its whole pages.
class PageIndex {
 public:
  // The descriptors must stay open while the index is used. kCorrupt: a source is not a regular file.
  static Result<PageIndex> Build(const MemorySources& sources);

  // A place whose bytes were compared with `page`; kStored when no source has them. `likely` is tried first, so that
  // pages which follow each other in a file are found in a row.
  Result<PagePlace> Find(std::span<const uint8_t> page, const PagePlace& likely) const;

 private:
  struct Entry {
    uint64_t hash = 0;
    PagePlace place;
  };

  explicit PageIndex(const MemorySources& sources) : sources_(sources) {}
  Status Add(PageSource source);
  void AddPages(PageSource source, uint64_t first_page, std::span<const uint8_t> pages);
  bool HasHash(const PagePlace& place, uint64_t hash) const;
  Result<bool> Equals(const PagePlace& place, std::span<const uint8_t> page) const;

  MemorySources sources_;
  std::array<std::vector<uint64_t>, kPageSources> hashes_;  // of each source, by page
  std::vector<Entry> by_hash_;                              // ascending
};

}  // namespace snapfaas::snapshot
