// `manifest.json` of a snapshot (docs/snapshot_format.md): what it is and which files belong to it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/working_set.h"

namespace snapfaas::snapshot {

inline constexpr size_t kMaxManifestBytes = 64 * 1024;

// Which snapshot: a base snapshot for each runtime and size of microVM, and on it one for each function.
struct SnapshotKey {
  std::string runtime;  // 1 to 64 of a-zA-Z0-9._-, the first a letter or digit
  uint32_t memory_mib = 0;
  uint32_t vcpus = 0;
  // Of a function snapshot: the IdentityHash of the function's image. Empty: a base snapshot.
  std::string function = {};

  auto operator<=>(const SnapshotKey&) const = default;

  bool IsBase() const { return function.empty(); }
  SnapshotKey Base() const { return {runtime, memory_mib, vcpus, {}}; }

  // "python3-128mib-1vcpu", "python3-128mib-1vcpu+<function>"
  std::string FolderName() const;
  // kInvalidArgument.
  Status Check() const;
};

// What a snapshot was made from, each an IdentityHash (snapshot/hash.h). Where one differs from today's, the snapshot
// is out of date.
struct SnapshotSources {
  std::string kernel;
  std::string initramfs;
  std::string runtimefs;

  bool operator==(const SnapshotSources&) const = default;
};

// Whether the text has the form of an IdentityHash.
bool IsIdentityHash(std::string_view text);

struct Manifest {
  SnapshotKey key;
  SnapshotSources sources;
  int64_t created_unix_ms = 0;
  uint64_t state_bytes = 0;
  uint64_t state_checksum = 0;  // of the whole state file
  uint64_t memory_bytes = 0;
  uint64_t memory_checksum = 0;  // of the memory map
  uint64_t stored_bytes = 0;     // dirty memory: what the memory file holds
  uint64_t base_checksum = 0;    // of a function snapshot: state_checksum of its base

  bool operator==(const Manifest&) const = default;
};

std::string EncodeManifest(const Manifest& manifest);

// kCorrupt: not a manifest. kIncompatible: of another version.
Result<Manifest> DecodeManifest(std::string_view json);

// A snapshot opened for reading. It stays whole whatever happens to its folder.
struct SnapshotFiles {
  Manifest manifest;
  UniqueFd state;
  UniqueFd memory;
  std::optional<WorkingSet> working_set;  // where one was recorded, and fits
  UniqueFd working_pages;                 // where they were packed, and are of that set (working_pages.h)
};

}  // namespace snapfaas::snapshot
