// The `state` file of a snapshot (docs/snapshot_format.md): everything of a stopped microVM but its RAM.
//
// This library knows the frame around the VMM's sections and the memory map; what is inside a section is the VMM's.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace snapfaas::snapshot {

inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint64_t kMaxStateBytes = 32_MiB;
inline constexpr uint64_t kMaxMemoryBytes = 64_GiB;
inline constexpr uint32_t kMaxVcpus = 64;
inline constexpr uint32_t kMaxSections = 64;
inline constexpr uint32_t kMaxRunPages = 256;

// Section ids below this one are this library's.
inline constexpr uint32_t kFirstVmmSection = 256;

// What every refusal ends with.
inline constexpr std::string_view kMend = "rebuild the snapshot with `snapfaas runtime build NAME --force`";

// What errors call a snapshot's files.
inline constexpr std::string_view kStateWhat = "the snapshot's state file";
inline constexpr std::string_view kImageWhat = "the snapshot's memory image";
inline constexpr std::string_view kManifestWhat = "the snapshot's manifest";

// The error of a file that is not what was written.
tl::unexpected<Error> Damaged(std::string_view what, std::string_view why);

// Of the CPU that the guest has seen. A snapshot is restored only where all of it is the same.
struct CpuFingerprint {
  std::array<char, 12> vendor{};  // CPUID leaf 0: "GenuineIntel", "AuthenticAMD"
  uint32_t family = 0;
  uint32_t model = 0;
  uint32_t stepping = 0;
  uint32_t xsave_bytes = 0;
  uint64_t cpuid_hash = 0;  // Hash64 of the CPUID table given to the guest (snapshot/hash.h)

  bool operator==(const CpuFingerprint&) const = default;
};

// What a restoring VMM is made for; a snapshot must have been taken from the same.
struct Expectation {
  uint64_t memory_bytes = 0;
  uint32_t vcpus = 0;
  CpuFingerprint cpu;
  uint64_t device_set_hash = 0;

  bool operator==(const Expectation&) const = default;
};

// Where the bytes of pages are.
enum class PageSource : uint32_t {
  kStored = 0,  // in the snapshot's memory file, at their guest-physical address
  kKernel = 1,  // in the kernel image that the VM was booted from
  kZero = 2,    // nowhere: zeroes where the base snapshot has others. Only in a function snapshot
};
inline constexpr uint32_t kPageSources = 3;

// The file, for messages.
std::string_view NameOf(PageSource source);

// Pages [first_page, first_page + pages) of guest memory.
struct MemoryRun {
  uint32_t first_page = 0;
  uint32_t pages = 0;
  uint64_t checksum = 0;  // of their bytes; 0 for kZero
  PageSource source = PageSource::kStored;
  uint32_t source_page = 0;  // of the source file, what first_page equals; 0 for kStored and kZero

  bool IsStored() const { return source == PageSource::kStored; }
  bool operator==(const MemoryRun&) const = default;
};

// Ascending, not overlapping. Pages that no run names are zeroes in a base snapshot, and as in the base in a function
// snapshot.
struct MemoryMap {
  std::vector<MemoryRun> runs;

  // Dirty memory: what the snapshot itself holds.
  uint64_t StoredBytes() const;
  // What all runs take once they are in memory, the referred ones too, without those of zeroes.
  uint64_t ResidentBytes() const;
  bool operator==(const MemoryMap&) const = default;
};

// Of the encoded map, and through its runs of every byte that is not zero.
uint64_t Checksum(const MemoryMap& map);

struct Section {
  uint32_t id = 0;  // kFirstVmmSection or above; once
  std::vector<uint8_t> bytes;

  bool operator==(const Section&) const = default;
};

struct StateFile {
  Expectation machine;  // the machine that it was taken from
  // Of a function snapshot: the checksum of its base snapshot's whole state file. 0: this is a base snapshot.
  uint64_t base_checksum = 0;
  MemoryMap memory;
  std::vector<Section> sections;

  // nullptr: there is none.
  const Section* Find(uint32_t id) const;
};

// kInvalidArgument when the state breaks a bound of the format.
Result<std::vector<uint8_t>> EncodeState(const StateFile& state);

// kCorrupt: truncated or altered. kIncompatible: another format version.
Result<StateFile> DecodeState(std::span<const uint8_t> bytes);

// Reads and decodes a whole state file from its start; the descriptor's position does not matter.
Result<StateFile> ReadState(int fd);

// kIncompatible, saying what differs.
Status CheckCompatible(const StateFile& state, const Expectation& expected);

}  // namespace snapfaas::snapshot
