#include "snapshot/store.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::string_view kStateWhat = "the snapshot's state file";

Result<UniqueFd> MakeMemfd(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FailErrno(errno, "making a file in memory for a snapshot");
  return fd;
}

Status Seal(int fd) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0) return FailErrno(errno, "sealing a snapshot in memory");
  return {};
}

Result<std::vector<uint8_t>> ReadVerifiedState(const SnapshotFiles& files) {
  auto size = SizeOf(files.state.get(), kStateWhat);
  if (!size) return Forward(size.error());
  if (*size != files.manifest.state_bytes || *size > kMaxStateBytes) {
    return Fail(ErrorCode::kCorrupt, "{} has {} bytes instead of {}; {}", kStateWhat, *size, files.manifest.state_bytes,
                kMend);
  }
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(files.state.get(), 0, bytes, kStateWhat);
  if (!read) return Forward(read.error());
  return bytes;
}

Status CheckBelongsTo(const Manifest& manifest, std::span<const uint8_t> bytes, const StateFile& state) {
  if (Hash64(bytes) != manifest.state_checksum || state.machine.memory_bytes != manifest.memory_bytes ||
      state.machine.vcpus != manifest.key.vcpus || Checksum(state.memory) != manifest.memory_checksum ||
      state.memory.StoredBytes() != manifest.stored_bytes) {
    return Fail(ErrorCode::kCorrupt, "{} does not belong to its manifest; {}", kStateWhat, kMend);
  }
  return {};
}

}  // namespace

InMemorySnapshot::InMemorySnapshot(Manifest manifest, UniqueFd state, UniqueFd memory, uint64_t resident_bytes)
    : manifest_(std::move(manifest)),
      state_(std::move(state)),
      memory_(std::move(memory)),
      resident_bytes_(resident_bytes) {}

Result<InMemorySnapshot> InMemorySnapshot::Load(const SnapshotFiles& files, const MemorySources& sources) {
  auto bytes = ReadVerifiedState(files);
  if (!bytes) return Forward(bytes.error());
  auto decoded = DecodeState(*bytes);
  if (!decoded) return Forward(decoded.error());
  auto belongs = CheckBelongsTo(files.manifest, *bytes, *decoded);
  if (!belongs) return Forward(belongs.error());

  auto state = MakeMemfd("snapfaas-state");
  if (!state) return Forward(state.error());
  auto memory = MakeMemfd("snapfaas-memory");
  if (!memory) return Forward(memory.error());
  auto written = WriteAt(state->get(), 0, *bytes, kStateWhat);
  if (!written) return Forward(written.error());
  auto copied = CopyVerified(files.memory.get(), memory->get(), decoded->memory, files.manifest.memory_bytes, sources);
  if (!copied) return Forward(copied.error());
  for (const int fd : {state->get(), memory->get()}) {
    auto sealed = Seal(fd);
    if (!sealed) return Forward(sealed.error());
  }
  return InMemorySnapshot(files.manifest, std::move(*state), std::move(*memory),
                          decoded->memory.ResidentBytes() + bytes->size());
}

}  // namespace snapfaas::snapshot
