#include "base/fault_injecting_file_system.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

namespace snapfaas {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max() / 2;

std::string ReadWhole(PosixFileSystem& files, const std::string& path) {
  const auto size = files.FileSize(path);
  if (!size || *size > kNoLimit) return {};
  return files.ReadSmallFile(path, static_cast<size_t>(*size)).value_or(std::string());
}

}  // namespace

FaultInjectingFileSystem::FaultInjectingFileSystem(std::string root) : root_(std::move(root)) { NoteTree(root_); }

void FaultInjectingFileSystem::FailAt(int operation, int os_errno) {
  operations_ = 0;
  fail_at_ = operation;
  fail_errno_ = os_errno;
}

void FaultInjectingFileSystem::CrashAt(int operation) {
  operations_ = 0;
  crash_at_ = operation;
}

Status FaultInjectingFileSystem::Change(const std::string& path) {
  const int number = operations_++;
  if (number == crash_at_) crashed_ = true;
  if (number == fail_at_) return FailErrno(fail_errno_, "changing {} (an injected fault)", path);
  return Look(path);
}

Status FaultInjectingFileSystem::Look(const std::string& path) const {
  if (crashed_) return FailErrno(EIO, "using {} after a crash", path);
  return {};
}

// The node of what is at the path now; a new one is not durable in any way.
ino_t FaultInjectingFileSystem::NodeOf(const std::string& path) {
  UniqueFd pin(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!pin.valid() || ::fstat(pin.get(), &info) != 0) return 0;
  auto [node, is_new] = nodes_.try_emplace(info.st_ino);
  if (is_new) {
    node->second.pin = std::move(pin);
    node->second.is_folder = S_ISDIR(info.st_mode);
  }
  return info.st_ino;
}

void FaultInjectingFileSystem::NoteBytes(const std::string& path) {
  nodes_[NodeOf(path)].bytes = ReadWhole(real_, path);
}

void FaultInjectingFileSystem::NoteEntries(const std::string& path) {
  std::map<std::string, ino_t> entries;
  for (const auto& name : real_.List(path).value_or(std::vector<std::string>())) {
    entries[name] = NodeOf(fmt::format("{}/{}", path, name));
  }
  nodes_[NodeOf(path)].entries = std::move(entries);
}

void FaultInjectingFileSystem::NoteTree(const std::string& path) {
  if (!nodes_[NodeOf(path)].is_folder) {
    NoteBytes(path);
    return;
  }
  NoteEntries(path);
  for (const auto& name : real_.List(path).value_or(std::vector<std::string>()))
    NoteTree(fmt::format("{}/{}", path, name));
}

void FaultInjectingFileSystem::CollectDurable(ino_t folder, const std::string& path, Tree& tree) const {
  for (const auto& [name, ino] : nodes_.at(folder).entries) {
    const Node& node = nodes_.at(ino);
    tree[path + name] = node.is_folder ? nullptr : &node.bytes;
    if (node.is_folder) CollectDurable(ino, path + name + "/", tree);
  }
}

void FaultInjectingFileSystem::CollectPresent(const std::string& folder, const std::string& path, Tree& tree) {
  for (const auto& name : real_.List(folder).value_or(std::vector<std::string>())) {
    const Node& node = nodes_.at(NodeOf(fmt::format("{}/{}", folder, name)));
    tree[path + name] = node.is_folder ? nullptr : &node.bytes;
    if (node.is_folder) CollectPresent(fmt::format("{}/{}", folder, name), fmt::format("{}{}/", path, name), tree);
  }
}

Status FaultInjectingFileSystem::Restart(Losses losses) {
  Tree tree;
  if (losses == Losses::kUnsyncedAnything) CollectDurable(NodeOf(root_), "", tree);
  if (losses == Losses::kUnsyncedBytes) CollectPresent(root_, "", tree);
  if (losses != Losses::kNothing) {
    for (const auto& name : real_.List(root_).value_or(std::vector<std::string>())) {
      std::error_code failed;
      std::filesystem::remove_all(root_ + "/" + name, failed);
      if (failed) return FailErrno(failed.value(), "emptying {}", root_);
    }
    // In the order of their paths, so that a folder comes before what is in it.
    for (const auto& [name, bytes] : tree) {
      const std::string path = root_ + "/" + name;
      if (bytes == nullptr) {
        auto made = real_.CreateFolder(path);
        if (!made) return made;
        continue;
      }
      auto fd = real_.OpenForWriting(path);
      if (!fd) return Forward(fd.error());
      auto written = WriteAll(fd->get(), *bytes);
      if (!written) return written;
    }
  }
  nodes_.clear();
  NoteTree(root_);
  crashed_ = false;
  crash_at_ = fail_at_ = -1;
  return {};
}

Status FaultInjectingFileSystem::CreateFolder(const std::string& path) {
  auto allowed = Change(path);
  return allowed ? real_.CreateFolder(path) : allowed;
}

Status FaultInjectingFileSystem::RemoveFile(const std::string& path) {
  auto allowed = Change(path);
  return allowed ? real_.RemoveFile(path) : allowed;
}

Status FaultInjectingFileSystem::RemoveFolder(const std::string& path) {
  auto allowed = Change(path);
  return allowed ? real_.RemoveFolder(path) : allowed;
}

Status FaultInjectingFileSystem::Rename(const std::string& from, const std::string& to) {
  auto allowed = Change(from);
  return allowed ? real_.Rename(from, to) : allowed;
}

Result<UniqueFd> FaultInjectingFileSystem::OpenForWriting(const std::string& path) {
  auto allowed = Change(path);
  if (!allowed) return Forward(allowed.error());
  return real_.OpenForWriting(path);
}

Result<UniqueFd> FaultInjectingFileSystem::OpenForReading(const std::string& path) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.OpenForReading(path);
}

Status FaultInjectingFileSystem::SyncFile(const std::string& path) {
  auto allowed = Change(path);
  if (!allowed) return allowed;
  auto synced = real_.SyncFile(path);
  if (synced) NoteBytes(path);
  return synced;
}

Status FaultInjectingFileSystem::SyncFolder(const std::string& path) {
  auto allowed = Change(path);
  if (!allowed) return allowed;
  auto synced = real_.SyncFolder(path);
  if (synced) NoteEntries(path);
  return synced;
}

Result<std::vector<std::string>> FaultInjectingFileSystem::List(const std::string& folder) {
  auto allowed = Look(folder);
  if (!allowed) return Forward(allowed.error());
  return real_.List(folder);
}

Result<bool> FaultInjectingFileSystem::Exists(const std::string& path) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.Exists(path);
}

Result<uint64_t> FaultInjectingFileSystem::FileSize(const std::string& path) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.FileSize(path);
}

Result<FileInfo> FaultInjectingFileSystem::Inspect(const std::string& path) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.Inspect(path);
}

Status FaultInjectingFileSystem::Touch(const std::string& path) {
  auto allowed = Change(path);
  return allowed ? real_.Touch(path) : allowed;
}

Result<std::string> FaultInjectingFileSystem::ReadSmallFile(const std::string& path, size_t limit) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.ReadSmallFile(path, limit);
}

Result<UniqueFd> FaultInjectingFileSystem::LockFolder(const std::string& path, LockMode mode) {
  auto allowed = Look(path);
  if (!allowed) return Forward(allowed.error());
  return real_.LockFolder(path, mode);
}

}  // namespace snapfaas
