// What the files of the registry share.
#pragma once

#include <string>
#include <utility>

#include "base/clock.h"
#include "base/result.h"
#include "registry/database.h"
#include "registry/registry.h"

namespace snapfaas::registry {

inline int64_t NowUnixMs() { return RealtimeNanos() / 1'000'000; }

inline std::string OrLatest(const std::string& qualifier) { return qualifier.empty() ? kLatest : qualifier; }

// $LATEST is 0 in the database. -1: no version's name.
int64_t VersionNumber(const std::string& version);
std::string VersionName(int64_t number);

// Reads up to `page.limit` rows; `read` makes an item of one (a Result), `key` says what Page::after of an item is.
template <typename T, typename Read, typename Key>
Result<Listed<T>> ReadPage(Rows rows, const Page& page, const Read& read, const Key& key) {
  Listed<T> listed;
  while (rows.Next()) {
    if (listed.items.size() == page.limit) {
      listed.next = key(listed.items.back());
      return listed;
    }
    auto item = read(rows);
    if (!item) return Forward(item.error());
    listed.items.push_back(*std::move(item));
  }
  if (auto status = rows.status(); !status) return Forward(status.error());
  return listed;
}

// How many rows ReadPage has to be given.
inline int64_t RowsOf(const Page& page) { return static_cast<int64_t>(page.limit) + 1; }

Result<FunctionVersion> ReadVersion(const Rows& rows);

}  // namespace snapfaas::registry
