#include "snapshot/format.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

#include "base/coding.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::array<uint8_t, 8> kStateMagic = {'S', 'N', 'A', 'P', 'F', 'A', 'A', 'S'};
constexpr uint32_t kMemoryMapId = 1;
constexpr size_t kHeaderBytes = 88;
constexpr size_t kTableEntryBytes = 8;
constexpr size_t kRunBytes = 24;

struct TableEntry {
  uint32_t id = 0;
  uint32_t size = 0;
};

// The layout of a run in the file is that of MemoryRun, so that a large map is read at memory speed: it is on the way
// of every restore.
static_assert(sizeof(MemoryRun) == kRunBytes && std::is_trivially_copyable_v<MemoryRun>);

std::string_view SourceFaultOf(const MemoryRun& run) {
  if (static_cast<uint32_t>(run.source) >= kPageSources) return "a run of pages has an unknown source";
  if (run.source == PageSource::kZero && run.checksum != 0) return "a run of zeroes has a checksum";
  if (run.source != PageSource::kKernel) {
    return run.source_page == 0 ? "" : "a run of pages without a source file names a page of one";
  }
  constexpr uint64_t kMaxSourcePages = uint64_t{1} << 32;
  if (uint64_t{run.source_page} + run.pages > kMaxSourcePages) return "a run of pages lies outside every source";
  return {};
}

// Empty when the map obeys the format.
std::string_view FaultOf(const MemoryMap& map, uint64_t memory_bytes) {
  const uint64_t memory_pages = memory_bytes / kPageSize;
  uint64_t next = 0;
  for (const auto& run : map.runs) {
    if (run.pages == 0 || run.pages > kMaxRunPages) return "a run of pages has an impossible length";
    if (run.first_page < next) return "its runs of pages overlap";
    next = uint64_t{run.first_page} + run.pages;
    if (next > memory_pages) return "a run of pages lies outside the memory";
    const auto fault = SourceFaultOf(run);
    if (!fault.empty()) return fault;
  }
  return {};
}

std::string_view FaultOf(const Expectation& machine) {
  if (machine.memory_bytes == 0 || machine.memory_bytes % kPageSize != 0 || machine.memory_bytes > kMaxMemoryBytes) {
    return "impossible memory size";
  }
  if (machine.vcpus == 0 || machine.vcpus > kMaxVcpus) return "impossible number of vCPUs";
  return {};
}

std::string_view FaultOf(const std::vector<Section>& sections) {
  if (sections.size() >= kMaxSections) return "too many sections";
  for (auto section = sections.begin(); section != sections.end(); ++section) {
    if (section->id < kFirstVmmSection) return "a section with a reserved id";
    const auto same_id = [&](const Section& other) { return other.id == section->id; };
    if (std::any_of(sections.begin(), section, same_id)) return "two sections with one id";
    if (section->bytes.size() > kMaxStateBytes) return "a section that is too large";
  }
  return {};
}

std::string_view FaultOf(const StateFile& state) {
  auto fault = FaultOf(state.machine);
  if (fault.empty()) fault = FaultOf(state.memory, state.machine.memory_bytes);
  if (fault.empty()) fault = FaultOf(state.sections);
  const auto is_zero = [](const MemoryRun& run) { return run.source == PageSource::kZero; };
  if (fault.empty() && state.base_checksum == 0 && std::ranges::any_of(state.memory.runs, is_zero)) {
    fault = "a base snapshot names pages of zeroes";
  }
  return fault;
}

std::span<const uint8_t> RunBytes(const MemoryMap& map) {
  return {reinterpret_cast<const uint8_t*>(map.runs.data()), map.runs.size() * kRunBytes};
}

void PutMachine(ByteWriter& writer, const Expectation& machine) {
  writer.Put(machine.memory_bytes);
  writer.Put(machine.vcpus);
  writer.PutStruct(machine.cpu.vendor);
  writer.Put(machine.cpu.family);
  writer.Put(machine.cpu.model);
  writer.Put(machine.cpu.stepping);
  writer.Put(machine.cpu.xsave_bytes);
  writer.Put(machine.cpu.cpuid_hash);
  writer.Put(machine.device_set_hash);
}

Expectation GetMachine(ByteReader& reader) {
  Expectation machine;
  machine.memory_bytes = reader.Get<uint64_t>();
  machine.vcpus = reader.Get<uint32_t>();
  machine.cpu.vendor = reader.GetStruct<std::array<char, 12>>();
  machine.cpu.family = reader.Get<uint32_t>();
  machine.cpu.model = reader.Get<uint32_t>();
  machine.cpu.stepping = reader.Get<uint32_t>();
  machine.cpu.xsave_bytes = reader.Get<uint32_t>();
  machine.cpu.cpuid_hash = reader.Get<uint64_t>();
  machine.device_set_hash = reader.Get<uint64_t>();
  return machine;
}

std::vector<TableEntry> GetTable(ByteReader& reader, uint32_t count) {
  std::vector<TableEntry> table(count);
  for (auto& entry : table) {
    entry.id = reader.Get<uint32_t>();
    entry.size = reader.Get<uint32_t>();
  }
  return table;
}

// False: its size is not that of whole runs.
bool GetMemoryMap(std::span<const uint8_t> bytes, MemoryMap& map) {
  if (bytes.size() % kRunBytes != 0) return false;
  map.runs.resize(bytes.size() / kRunBytes);
  if (!bytes.empty()) std::memcpy(map.runs.data(), bytes.data(), bytes.size());
  return true;
}

std::string Describe(const CpuFingerprint& cpu) {
  // The bytes come from a file and go to a terminal.
  std::string vendor(cpu.vendor.data(), cpu.vendor.size());
  std::replace_if(
      vendor.begin(), vendor.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return fmt::format("{} family {} model {} stepping {}", vendor, cpu.family, cpu.model, cpu.stepping);
}

Status CheckCpu(const CpuFingerprint& taken_on, const CpuFingerprint& here) {
  if (taken_on == here) return {};
  const std::string there = Describe(taken_on);
  if (there != Describe(here)) {
    return Fail(ErrorCode::kIncompatible, "the snapshot was taken on another CPU ({}; this is {}); {}", there,
                Describe(here), kMend);
  }
  return Fail(
      ErrorCode::kIncompatible,
      "the snapshot's guest saw other features of this CPU ({}), as after a change of host kernel or microcode; "
      "{}",
      there, kMend);
}

}  // namespace

tl::unexpected<Error> Damaged(std::string_view what, std::string_view why) {
  return Fail(ErrorCode::kCorrupt, "{} is damaged ({}); {}", what, why, kMend);
}

std::string_view NameOf(PageSource source) {
  switch (source) {
    case PageSource::kStored:
      return "the snapshot's memory image";
    case PageSource::kKernel:
      return "the runtime's kernel image";
    case PageSource::kZero:
      return "pages of zeroes";
  }
  return "an unknown file";
}

uint64_t MemoryMap::StoredBytes() const {
  uint64_t pages = 0;
  for (const auto& run : runs) pages += run.IsStored() ? run.pages : 0;
  return pages * kPageSize;
}

uint64_t MemoryMap::ResidentBytes() const {
  uint64_t pages = 0;
  for (const auto& run : runs) pages += run.source == PageSource::kZero ? 0 : run.pages;
  return pages * kPageSize;
}

uint64_t Checksum(const MemoryMap& map) { return Hash64(RunBytes(map)); }

const Section* StateFile::Find(uint32_t id) const {
  const auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& s) { return s.id == id; });
  return found == sections.end() ? nullptr : &*found;
}

Result<std::vector<uint8_t>> EncodeState(const StateFile& state) {
  const auto fault = FaultOf(state);
  if (!fault.empty()) return Fail(ErrorCode::kInvalidArgument, "a state that cannot be saved: {}", fault);
  const auto map = RunBytes(state.memory);
  const size_t count = state.sections.size() + 1;
  uint64_t total = kHeaderBytes + count * kTableEntryBytes + map.size() + kChecksumBytes;
  for (const auto& section : state.sections) total += section.bytes.size();
  if (total > kMaxStateBytes) {
    return Fail(ErrorCode::kInvalidArgument, "a state of {} bytes is above the limit of {}", total, kMaxStateBytes);
  }

  ByteWriter writer;
  writer.PutBytes(kStateMagic);
  writer.Put(kFormatVersion);
  writer.Put(static_cast<uint32_t>(count));
  writer.Put(total);
  PutMachine(writer, state.machine);
  writer.Put(state.base_checksum);
  writer.Put(kMemoryMapId);
  writer.Put(static_cast<uint32_t>(map.size()));
  for (const auto& section : state.sections) {
    writer.Put(section.id);
    writer.Put(static_cast<uint32_t>(section.bytes.size()));
  }
  writer.PutBytes(map);
  for (const auto& section : state.sections) writer.PutBytes(section.bytes);
  writer.Put(Hash64(writer.bytes()));
  return writer.Take();
}

Result<StateFile> DecodeState(std::span<const uint8_t> bytes) {
  if (bytes.size() > kMaxStateBytes) return Damaged(kStateWhat, "it is too long");
  if (bytes.size() < kHeaderBytes + kTableEntryBytes + kChecksumBytes) return Damaged(kStateWhat, "it is truncated");
  ByteReader reader(bytes.first(bytes.size() - kChecksumBytes));
  if (!std::ranges::equal(reader.GetBytes(kStateMagic.size()), kStateMagic)) {
    return Damaged(kStateWhat, "it does not begin as one");
  }
  const auto version = reader.Get<uint32_t>();
  if (version != kFormatVersion) {
    return Fail(ErrorCode::kIncompatible, "the snapshot has format version {}, this program reads version {}; {}",
                version, kFormatVersion, kMend);
  }
  const auto count = reader.Get<uint32_t>();
  if (reader.Get<uint64_t>() != bytes.size()) return Damaged(kStateWhat, "it is truncated or too long");
  if (ByteReader(bytes.last(kChecksumBytes)).Get<uint64_t>() != Hash64(bytes.first(bytes.size() - kChecksumBytes))) {
    return Damaged(kStateWhat, "its checksum differs");
  }

  StateFile state;
  state.machine = GetMachine(reader);
  state.base_checksum = reader.Get<uint64_t>();
  if (count == 0 || count > kMaxSections) return Damaged(kStateWhat, "impossible number of sections");
  const auto table = GetTable(reader, count);
  if (table.front().id != kMemoryMapId) return Damaged(kStateWhat, "it has no memory map");
  if (!GetMemoryMap(reader.GetBytes(table.front().size), state.memory)) {
    return Damaged(kStateWhat, "its memory map is cut");
  }
  for (auto entry = table.begin() + 1; entry != table.end(); ++entry) {
    const auto section = reader.GetBytes(entry->size);
    state.sections.push_back(Section{entry->id, {section.begin(), section.end()}});
  }
  if (!reader.Finish(kStateWhat)) return Damaged(kStateWhat, "its sections do not fill it");
  const auto fault = FaultOf(state);
  if (!fault.empty()) return Damaged(kStateWhat, fault);
  return state;
}

Result<StateFile> ReadState(int fd) {
  auto size = SizeOf(fd, kStateWhat);
  if (!size) return Forward(size.error());
  if (*size > kMaxStateBytes) return Damaged(kStateWhat, "it is too long");
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(fd, 0, bytes, kStateWhat);
  if (!read) return Forward(read.error());
  return DecodeState(bytes);
}

Status CheckCompatible(const StateFile& state, const Expectation& expected) {
  const Expectation& machine = state.machine;
  if (machine.memory_bytes != expected.memory_bytes) {
    return Fail(ErrorCode::kIncompatible, "the snapshot is of a VM with {} MiB of memory, not {} MiB; {}",
                machine.memory_bytes >> 20, expected.memory_bytes >> 20, kMend);
  }
  if (machine.vcpus != expected.vcpus) {
    return Fail(ErrorCode::kIncompatible, "the snapshot is of a VM with {} vCPUs, not {}; {}", machine.vcpus,
                expected.vcpus, kMend);
  }
  auto same_cpu = CheckCpu(machine.cpu, expected.cpu);
  if (!same_cpu) return same_cpu;
  if (machine.device_set_hash != expected.device_set_hash) {
    return Fail(ErrorCode::kIncompatible, "the snapshot is of a VM with other devices than this VMM has; {}", kMend);
  }
  return {};
}

}  // namespace snapfaas::snapshot
