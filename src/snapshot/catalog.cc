#include "snapshot/catalog.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/working_pages.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::string_view kNewPrefix = ".new-";    // being built; its builder holds a lock on it
constexpr std::string_view kOldPrefix = ".old-";    // being replaced
constexpr std::string_view kGonePrefix = ".gone-";  // being removed
constexpr char kManifestName[] = "/manifest.json";
constexpr char kStateName[] = "/state";
constexpr char kMemoryName[] = "/memory";
constexpr char kWorkingSetName[] = "/working_set";
constexpr char kWorkingPagesName[] = "/working_pages";
constexpr int kMaxBuilders = 1000;

std::string Prefixed(std::string_view prefix, std::string_view name) { return fmt::format("{}{}", prefix, name); }

Status WriteManifest(FileSystem& files, const std::string& path, const Manifest& manifest) {
  auto fd = files.OpenForWriting(path);
  if (!fd) return Forward(fd.error());
  auto written = WriteAll(fd->get(), EncodeManifest(manifest));
  if (!written) return Forward(written.error(), path);
  return {};
}

Status CheckFileSize(int fd, uint64_t expected, std::string_view what) {
  auto size = SizeOf(fd, what);
  if (!size) return Forward(size.error());
  if (*size == expected) return {};
  return Fail(ErrorCode::kCorrupt, "{} has {} bytes instead of {}; {}", what, *size, expected, kMend);
}

// "" of a base snapshot.
std::string_view FunctionOf(std::string_view folder_name) {
  const size_t plus = folder_name.find('+');
  if (plus == std::string_view::npos || !IsIdentityHash(folder_name.substr(plus + 1))) return {};
  return folder_name.substr(plus + 1);
}

uint64_t DiskBytesOf(FileSystem& files, const std::string& folder) {
  // What cannot be looked at counts as nothing.
  const auto count = [&](const std::string& path) {
    const auto info = files.Inspect(path);
    return info ? info->disk_bytes : 0;
  };
  uint64_t bytes = count(folder);
  const auto names = files.List(folder);
  if (!names) return bytes;
  for (const auto& name : *names) bytes += count(fmt::format("{}/{}", folder, name));
  return bytes;
}

// Whether it will never be used again. Not where it could not be read for a reason that may pass, such as a lack of
// descriptors.
bool IsWaste(const Catalog::Entry& entry) {
  if (entry.is_base) return false;
  if (entry.manifest) return entry.is_orphan;
  const ErrorCode code = entry.manifest.error().code;
  return code == ErrorCode::kCorrupt || code == ErrorCode::kIncompatible || code == ErrorCode::kNotFound;
}

Result<std::vector<uint8_t>> ReadWholeState(int fd) {
  constexpr std::string_view kWhat = "the new snapshot's state file";
  auto size = SizeOf(fd, kWhat);
  if (!size) return Forward(size.error());
  if (*size > kMaxStateBytes) return Fail(ErrorCode::kCorrupt, "{} is too long", kWhat);
  std::vector<uint8_t> bytes(*size);
  auto read = ReadAt(fd, 0, bytes, kWhat);
  if (!read) return Forward(read.error());
  return bytes;
}

}  // namespace

PendingSnapshot::PendingSnapshot(FileSystem& files, SnapshotKey key, std::string folder, UniqueFd lock)
    : files_(&files), key_(std::move(key)), folder_(std::move(folder)), lock_(std::move(lock)) {}

PendingSnapshot::PendingSnapshot(PendingSnapshot&& other) noexcept
    : files_(std::exchange(other.files_, nullptr)),
      key_(std::move(other.key_)),
      folder_(std::move(other.folder_)),
      lock_(std::move(other.lock_)),
      state_(std::move(other.state_)),
      memory_(std::move(other.memory_)) {}

PendingSnapshot::~PendingSnapshot() {
  // What cannot be removed now is swept when the catalogue is next opened.
  if (files_ != nullptr) static_cast<void>(RemoveFlatFolder(*files_, folder_));
}

uint64_t Collected::removed_disk_bytes() const {
  uint64_t bytes = 0;
  for (const auto* list : {&unusable, &evicted}) {
    for (const Removed& removed : *list) bytes += removed.disk_bytes;
  }
  return bytes;
}

Catalog::Catalog(FileSystem& files, std::string root) : files_(&files), root_(std::move(root)) {}

Result<Catalog> Catalog::Open(FileSystem& files, std::string root) {
  auto made = CreateFolders(files, root);
  if (!made) return Forward(made.error());
  Catalog catalog(files, std::move(root));
  auto lock = files.LockFolder(catalog.root_, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  auto swept = catalog.Sweep();
  if (!swept) return Forward(swept.error());
  return catalog;
}

std::string Catalog::PathOf(const std::string& name) const { return root_ + "/" + name; }

Status Catalog::Sweep() {
  auto names = files_->List(root_);
  if (!names) return Forward(names.error());
  for (const auto& name : *names) {
    Status done;
    if (name.starts_with(kOldPrefix)) {
      done = SettleReplacement(name.substr(kOldPrefix.size()));
    } else if (name.starts_with(kGonePrefix)) {
      done = RemoveFlatFolder(*files_, PathOf(name));
    } else if (name.starts_with(kNewPrefix)) {
      auto free = files_->LockFolder(PathOf(name), LockMode::kTryExclusive);
      if (!free && free.error().code == ErrorCode::kUnavailable) continue;
      done = free ? RemoveFlatFolder(*files_, PathOf(name)) : Forward(free.error());
    }
    if (!done) return done;
  }
  return {};
}

// REQUIRES: the root is locked exclusively.
Status Catalog::SettleReplacement(const std::string& name) {
  const std::string old = PathOf(Prefixed(kOldPrefix, name));
  auto replaced = files_->Exists(PathOf(name));
  if (!replaced) return Forward(replaced.error());
  if (*replaced) return RemoveFlatFolder(*files_, old);
  auto left_over = files_->Exists(old);
  if (!left_over) return Forward(left_over.error());
  if (!*left_over) return {};
  auto renamed = files_->Rename(old, PathOf(name));
  return renamed ? files_->SyncFolder(root_) : renamed;
}

Result<PendingSnapshot> Catalog::Begin(const SnapshotKey& key) {
  auto valid = key.Check();
  if (!valid) return Forward(valid.error());
  // Keeps a sweeper away until the new folder is locked.
  auto root_lock = files_->LockFolder(root_, LockMode::kExclusive);
  if (!root_lock) return Forward(root_lock.error());
  for (int number = 0; number < kMaxBuilders; ++number) {
    const std::string folder = PathOf(fmt::format("{}{}-{}", kNewPrefix, key.FolderName(), number));
    auto made = files_->CreateFolder(folder);
    if (!made && made.error().code == ErrorCode::kAlreadyExists) continue;
    if (!made) return Forward(made.error());
    auto lock = files_->LockFolder(folder, LockMode::kTryExclusive);
    PendingSnapshot pending(*files_, key, folder, lock ? std::move(*lock) : UniqueFd());
    if (!lock) return Forward(lock.error());
    auto state = files_->OpenForWriting(folder + kStateName);
    if (!state) return Forward(state.error());
    pending.state_ = std::move(*state);
    auto memory = files_->OpenForWriting(folder + kMemoryName);
    if (!memory) return Forward(memory.error());
    pending.memory_ = std::move(*memory);
    return pending;
  }
  return Fail(ErrorCode::kResourceExhausted, "too many snapshots {} are being made at once", key.FolderName());
}

Result<Manifest> Catalog::Describe(const PendingSnapshot& pending, const SnapshotSources& sources) const {
  if (!IsIdentityHash(sources.kernel) || !IsIdentityHash(sources.initramfs) || !IsIdentityHash(sources.runtimefs)) {
    return Fail(ErrorCode::kInvalidArgument, "the sources of a snapshot must be identity hashes");
  }
  auto bytes = ReadWholeState(pending.state_fd());
  if (!bytes) return Forward(bytes.error());
  auto state = DecodeState(*bytes);
  if (!state) return Forward(state.error());
  Manifest manifest;
  manifest.key = pending.key();
  manifest.sources = sources;
  manifest.created_unix_ms = RealtimeNanos() / 1'000'000;
  manifest.state_bytes = bytes->size();
  manifest.state_checksum = Hash64(*bytes);
  manifest.memory_bytes = state->machine.memory_bytes;
  manifest.memory_checksum = Checksum(state->memory);
  manifest.stored_bytes = state->memory.StoredBytes();
  manifest.base_checksum = state->base_checksum;
  if (manifest.memory_bytes != uint64_t{pending.key().memory_mib} << 20 ||
      state->machine.vcpus != pending.key().vcpus) {
    return Fail(ErrorCode::kInvalidArgument, "the snapshot that was taken is not of a VM of {} MiB and {} vCPUs",
                pending.key().memory_mib, pending.key().vcpus);
  }
  if (pending.key().IsBase() != (manifest.base_checksum == 0)) {
    return Fail(ErrorCode::kInvalidArgument, "a function snapshot needs a base, and a base snapshot has none");
  }
  auto sized = CheckFileSize(pending.memory_fd(), manifest.memory_bytes, "the new snapshot's memory image");
  if (!sized) return Forward(sized.error());
  return manifest;
}

Result<Manifest> Catalog::Publish(PendingSnapshot pending, const SnapshotSources& sources) {
  auto manifest = Describe(pending, sources);
  if (!manifest) return Forward(manifest.error());
  auto written = WriteManifest(*files_, pending.folder_ + kManifestName, *manifest);
  if (!written) return Forward(written.error());
  for (const auto* name : {kStateName, kMemoryName, kManifestName}) {
    auto synced = files_->SyncFile(pending.folder_ + name);
    if (!synced) return Forward(synced.error());
  }
  auto synced = files_->SyncFolder(pending.folder_);
  if (!synced) return Forward(synced.error());
  auto swapped = SwapIn(pending);
  if (!swapped) return Forward(swapped.error());
  pending.files_ = nullptr;
  return manifest;
}

Status Catalog::SwapIn(const PendingSnapshot& pending) {
  const std::string name = pending.key().FolderName();
  const std::string place = PathOf(name);
  const std::string old = PathOf(Prefixed(kOldPrefix, name));
  auto lock = files_->LockFolder(root_, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  auto settled = SettleReplacement(name);
  if (!settled) return settled;
  auto replaces = files_->Exists(place);
  if (!replaces) return Forward(replaces.error());
  if (*replaces) {
    auto aside = files_->Rename(place, old);
    if (!aside) return aside;
  }
  auto done = files_->Rename(pending.folder_, place);
  const bool in_place = done.has_value();
  if (done) done = files_->SyncFolder(root_);
  if (!done) {
    // Back to what was there. Should this fail too, the next to open the catalogue settles it.
    if (in_place) static_cast<void>(files_->Rename(place, pending.folder_));
    if (*replaces) static_cast<void>(files_->Rename(old, place));
    return done;
  }
  // Only space is lost when this fails, until the catalogue is next opened.
  static_cast<void>(RemoveFlatFolder(*files_, old));
  return {};
}

Result<Manifest> Catalog::ReadManifest(const std::string& folder) const {
  auto text = files_->ReadSmallFile(folder + kManifestName, kMaxManifestBytes);
  if (!text) return Forward(text.error());
  return DecodeManifest(*text);
}

Result<SnapshotFiles> Catalog::OpenFolder(const std::string& folder, const SnapshotKey& key) const {
  auto manifest = ReadManifest(folder);
  if (!manifest) return Forward(manifest.error());
  if (manifest->key != key) {
    return Fail(ErrorCode::kCorrupt, "its manifest is that of {}; {}", manifest->key.FolderName(), kMend);
  }
  auto state = files_->OpenForReading(folder + kStateName);
  if (!state) return Forward(state.error());
  auto memory = files_->OpenForReading(folder + kMemoryName);
  if (!memory) return Forward(memory.error());
  auto sized = CheckFileSize(state->get(), manifest->state_bytes, "its state file");
  if (sized) sized = CheckFileSize(memory->get(), manifest->memory_bytes, "its memory image");
  if (!sized) return Forward(sized.error());
  // Advice: without a pin the snapshot may be collected behind its reader, who keeps it whole.
  static_cast<void>(Lock(memory->get(), LockMode::kTryShared, folder + kMemoryName));
  auto working_set = ReadWorkingSet(folder, *manifest);
  SnapshotFiles files{std::move(*manifest), std::move(*state), std::move(*memory), std::move(working_set), {}};
  files.working_pages = OpenWorkingPages(folder, files);
  return files;
}

UniqueFd Catalog::OpenWorkingPages(const std::string& folder, const SnapshotFiles& files) const {
  if (!files.working_set) return {};
  auto pages = files_->OpenForReading(folder + kWorkingPagesName);
  // Advice, as the set is.
  if (!pages || !HoldsWorkingPages(pages->get(), *files.working_set, files.manifest.state_checksum)) return {};
  return std::move(*pages);
}

std::optional<WorkingSet> Catalog::ReadWorkingSet(const std::string& folder, const Manifest& manifest) const {
  // Advice: one that is missing, damaged or stale costs time only, and the next recording replaces it.
  const auto text = files_->ReadSmallFile(folder + kWorkingSetName, kMaxWorkingSetBytes);
  if (!text) return std::nullopt;
  const std::span bytes(reinterpret_cast<const uint8_t*>(text->data()), text->size());
  auto set = DecodeWorkingSet(bytes, manifest.state_checksum, manifest.memory_bytes);
  if (!set) return std::nullopt;
  return std::move(*set);
}

Status Catalog::SaveWorkingSet(const SnapshotKey& key, uint64_t state_checksum, const WorkingSet& set) {
  return SaveBeside(key, state_checksum, kWorkingSetName, [&](int fd) {
    const auto bytes = EncodeWorkingSet(set, state_checksum);
    return WriteAll(fd, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  });
}

Status Catalog::SaveWorkingPages(const SnapshotKey& key, uint64_t state_checksum,
                                 const std::function<Status(int fd)>& write) {
  return SaveBeside(key, state_checksum, kWorkingPagesName, write);
}

Status Catalog::SaveBeside(const SnapshotKey& key, uint64_t state_checksum, std::string_view name,
                           const std::function<Status(int fd)>& write) {
  auto valid = key.Check();
  if (!valid) return valid;
  auto lock = files_->LockFolder(root_, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  const std::string folder = PathOf(key.FolderName());
  auto manifest = ReadManifest(folder);
  if (!manifest) return Forward(manifest.error());
  if (manifest->state_checksum != state_checksum) {
    return Fail(ErrorCode::kNotFound, "the snapshot {} was replaced since it was restored", key.FolderName());
  }
  const std::string path = folder + std::string(name);
  const std::string fresh = path + ".new";
  // One that a crash left behind.
  auto removed = files_->RemoveFile(fresh);
  if (!removed && removed.error().code != ErrorCode::kNotFound) return removed;
  auto file = files_->OpenForWriting(fresh);
  if (!file) return Forward(file.error());
  auto done = write(file->get());
  if (done) done = files_->SyncFile(fresh);
  if (done) done = files_->Rename(fresh, path);
  return done;
}

Result<SnapshotFiles> Catalog::Find(const SnapshotKey& key) const {
  auto valid = key.Check();
  if (!valid) return Forward(valid.error());
  auto lock = files_->LockFolder(root_, LockMode::kShared);
  if (!lock) return Forward(lock.error());
  const std::string name = key.FolderName();
  // The second is there alone when a builder died between two renames.
  for (const auto& folder : {PathOf(name), PathOf(Prefixed(kOldPrefix, name))}) {
    auto there = files_->Exists(folder);
    if (!there) return Forward(there.error());
    if (!*there) continue;
    auto opened = OpenFolder(folder, key);
    if (opened) {
      // The folder's time of modification is that of the last use. Advice: it says what to collect first.
      static_cast<void>(files_->Touch(folder));
      return opened;
    }
    Error error = opened.error();
    // A snapshot of which a file is missing is not a missing snapshot.
    if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kCorrupt;
    return Forward(std::move(error), "snapshot " + name);
  }
  if (!key.IsBase()) {
    return Fail(ErrorCode::kNotFound,
                "there is no snapshot of this function on {} with {} MiB and {} vCPU; `snapfaas run --layer function` "
                "takes it",
                key.runtime, key.memory_mib, key.vcpus);
  }
  return Fail(ErrorCode::kNotFound,
              "there is no snapshot of {} with {} MiB and {} vCPU; make it with `snapfaas runtime "
              "build {}`",
              key.runtime, key.memory_mib, key.vcpus, key.runtime);
}

Catalog::Entry Catalog::EntryOf(const std::string& name) const {
  const std::string folder = PathOf(name);
  Entry entry{name, ReadManifest(folder)};
  if (entry.manifest && entry.manifest->key.FolderName() != name) {
    entry.manifest =
        Fail(ErrorCode::kCorrupt, "the manifest is that of {}; {}", entry.manifest->key.FolderName(), kMend);
  }
  const auto info = files_->Inspect(folder);
  // What is no folder is no function snapshot of ours.
  entry.is_base = !info || !info->is_folder || FunctionOf(name).empty();
  entry.disk_bytes = DiskBytesOf(*files_, folder);
  if (info) entry.last_use_unix_ns = info->modified_unix_ns;
  return entry;
}

Result<std::vector<Catalog::Entry>> Catalog::Survey() const {
  auto names = files_->List(root_);
  if (!names) return Forward(names.error());
  std::vector<Entry> entries;
  std::map<std::string, std::optional<uint64_t>> bases;  // folder -> state checksum, where it can be read
  for (const auto& name : *names) {
    // The place of one that is being replaced, as far as a crash let it.
    if (name.starts_with(kOldPrefix)) bases.try_emplace(name.substr(kOldPrefix.size()), std::nullopt);
    if (name.starts_with('.')) continue;
    entries.push_back(EntryOf(name));
    const Entry& entry = entries.back();
    if (!entry.is_base) continue;
    bases[name] = entry.manifest ? std::optional(entry.manifest->state_checksum) : std::nullopt;
  }
  for (Entry& entry : entries) {
    if (entry.is_base || !entry.manifest) continue;
    const auto base = bases.find(entry.manifest->key.Base().FolderName());
    // Under a base that cannot be read nothing is known of its functions.
    entry.is_orphan = base == bases.end() || (base->second && *base->second != entry.manifest->base_checksum);
  }
  return entries;
}

Result<std::vector<Catalog::Entry>> Catalog::List() const {
  auto lock = files_->LockFolder(root_, LockMode::kShared);
  if (!lock) return Forward(lock.error());
  return Survey();
}

Result<bool> Catalog::IsPinned(const Entry& entry) const {
  const std::string path = PathOf(entry.folder) + kMemoryName;
  auto memory = files_->OpenForReading(path);
  if (!memory && memory.error().code == ErrorCode::kNotFound) return false;
  if (!memory) return Forward(memory.error());
  auto free = Lock(memory->get(), LockMode::kTryExclusive, path);
  if (!free && free.error().code != ErrorCode::kUnavailable) return Forward(free.error());
  return !free;
}

Result<Collected> Catalog::Collect(uint64_t limit_bytes) {
  // Keeps publishers and readers away, so that nobody pins what was found free.
  auto lock = files_->LockFolder(root_, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  // A base that a crash has left aside is not gone.
  auto swept = Sweep();
  if (!swept) return Forward(swept.error());
  auto entries = Survey();
  if (!entries) return Forward(entries.error());

  Collected collected;
  std::vector<const Entry*> functions;  // the waste first, then the least recently used
  for (const Entry& entry : *entries) {
    collected.disk_bytes += entry.disk_bytes;
    if (!entry.is_base) {
      functions.push_back(&entry);
      continue;
    }
    ++collected.bases;
    collected.base_disk_bytes += entry.disk_bytes;
    if (!entry.IsUsable()) ++collected.unusable_bases;
  }
  std::stable_sort(functions.begin(), functions.end(), [](const Entry* one, const Entry* other) {
    const auto rank = [](const Entry& entry) {
      const bool waste = IsWaste(entry);
      return std::tuple(!waste, waste ? 0 : entry.last_use_unix_ns);
    };
    return rank(*one) < rank(*other);
  });
  for (const Entry* entry : functions) {
    const bool waste = IsWaste(*entry);
    // One that could not be read today may be in use.
    const bool unwanted = waste || (entry->manifest && collected.disk_bytes > limit_bytes);
    auto pinned = unwanted ? IsPinned(*entry) : Result<bool>(false);
    if (!pinned) return Forward(pinned.error());
    if (!unwanted || *pinned) {
      ++collected.functions;
      if (*pinned) ++collected.pinned_functions;
      continue;
    }
    auto removed = RemoveFolder(entry->folder);
    if (!removed) return Forward(removed.error());
    collected.disk_bytes -= entry->disk_bytes;
    (waste ? collected.unusable : collected.evicted).push_back({entry->folder, entry->disk_bytes});
  }
  collected.is_within_limit = collected.disk_bytes <= limit_bytes;
  return collected;
}

Status Catalog::Remove(const SnapshotKey& key) {
  auto valid = key.Check();
  if (!valid) return valid;
  auto lock = files_->LockFolder(root_, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  const std::string name = key.FolderName();
  auto settled = SettleReplacement(name);
  if (!settled) return settled;
  auto there = files_->Exists(PathOf(name));
  if (!there) return Forward(there.error());
  if (!*there) return Fail(ErrorCode::kNotFound, "there is no snapshot {}", name);
  return RemoveFolder(name);
}

Status Catalog::RemoveFolder(const std::string& name) {
  // First out of sight as a whole, so that a crash leaves no half snapshot to be found.
  const std::string gone = PathOf(Prefixed(kGonePrefix, name));
  auto cleared = RemoveFlatFolder(*files_, gone);
  if (!cleared) return cleared;
  auto renamed = files_->Rename(PathOf(name), gone);
  if (!renamed) return renamed;
  auto synced = files_->SyncFolder(root_);
  if (!synced) return synced;
  return RemoveFlatFolder(*files_, gone);
}

}  // namespace snapfaas::snapshot
