#include "base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace snapfaas {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

Result<UniqueFd> OpenPath(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd.valid()) return FailErrno(errno, "opening {}", path);
  return fd;
}

Status SyncPath(const std::string& path, int flags) {
  auto fd = OpenPath(path, O_RDONLY | O_NOFOLLOW | flags);
  if (!fd) return Forward(fd.error());
  if (::fsync(fd->get()) == 0) return {};
  // Some file systems cannot sync a folder and say EINVAL; they have nothing better to offer.
  if (errno == EINVAL && flags == O_DIRECTORY) return {};
  return FailErrno(errno, "syncing {} to disk", path);
}

}  // namespace

Status PosixFileSystem::CreateFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return FailErrno(errno, "creating the folder {}", path);
  return {};
}

Status PosixFileSystem::RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return FailErrno(errno, "removing {}", path);
  return {};
}

Status PosixFileSystem::RemoveFolder(const std::string& path) {
  if (::rmdir(path.c_str()) != 0) return FailErrno(errno, "removing the folder {}", path);
  return {};
}

Status PosixFileSystem::Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return FailErrno(errno, "renaming {} to {}", from, to);
  return {};
}

Result<UniqueFd> PosixFileSystem::OpenForWriting(const std::string& path) {
  return OpenPath(path, O_RDWR | O_CREAT | O_EXCL);
}

Result<UniqueFd> PosixFileSystem::OpenForReading(const std::string& path) {
  return OpenPath(path, O_RDONLY | O_NOFOLLOW);
}

Status PosixFileSystem::SyncFile(const std::string& path) { return SyncPath(path, 0); }

Status PosixFileSystem::SyncFolder(const std::string& path) { return SyncPath(path, O_DIRECTORY); }

Result<std::vector<std::string>> PosixFileSystem::List(const std::string& folder) {
  const std::unique_ptr<DIR, CloseFolder> stream(::opendir(folder.c_str()));
  if (stream == nullptr) return FailErrno(errno, "opening the folder {}", folder);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return FailErrno(errno, "reading the folder {}", folder);
  std::sort(names.begin(), names.end());
  return names;
}

Result<bool> PosixFileSystem::Exists(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return FailErrno(errno, "looking for {}", path);
}

Result<uint64_t> PosixFileSystem::FileSize(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return FailErrno(errno, "looking at {}", path);
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalidArgument, "{} is not a file", path);
  return static_cast<uint64_t>(info.st_size);
}

Result<FileInfo> PosixFileSystem::Inspect(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return FailErrno(errno, "looking at {}", path);
  // In units of 512 bytes, whatever the file system's block is.
  return FileInfo{S_ISDIR(info.st_mode), static_cast<uint64_t>(info.st_blocks) * 512,
                  int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Status PosixFileSystem::Touch(const std::string& path) {
  const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return FailErrno(errno, "touching {}", path);
  }
  return {};
}

Result<std::string> PosixFileSystem::ReadSmallFile(const std::string& path, size_t limit) {
  auto fd = OpenForReading(path);
  if (!fd) return Forward(fd.error());
  // One byte more than allowed shows that the file is too long, whatever its size claims.
  std::string text(limit + 1, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::read(fd->get(), text.data() + filled, text.size() - filled);
    if (got == 0) break;
    if (got > 0) {
      filled += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      return FailErrno(errno, "reading {}", path);
    }
  }
  if (filled > limit) return Fail(ErrorCode::kCorrupt, "{} is longer than {} bytes", path, limit);
  text.resize(filled);
  return text;
}

Result<UniqueFd> PosixFileSystem::LockFolder(const std::string& path, LockMode mode) {
  auto fd = OpenPath(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) return Forward(fd.error());
  auto locked = Lock(fd->get(), mode, path);
  if (!locked) return Forward(locked.error());
  return fd;
}

Status Lock(int fd, LockMode mode, const std::string& path) {
  int operation = LOCK_EX;
  if (mode == LockMode::kShared) operation = LOCK_SH;
  if (mode == LockMode::kTryShared) operation = LOCK_SH | LOCK_NB;
  if (mode == LockMode::kTryExclusive) operation = LOCK_EX | LOCK_NB;
  while (::flock(fd, operation) != 0) {
    if (errno == EWOULDBLOCK) return Fail(ErrorCode::kUnavailable, "{} is in use by another process", path);
    if (errno != EINTR) return FailErrno(errno, "locking {}", path);
  }
  return {};
}

Status CreateFolders(FileSystem& files, const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    auto there = files.Exists(part);
    if (!there) return Forward(there.error());
    if (!*there) {
      auto made = files.CreateFolder(part);
      // Another process may have been faster.
      if (!made && made.error().code != ErrorCode::kAlreadyExists) return made;
    }
    if (end == std::string::npos) return {};
  }
}

Status RemoveFlatFolder(FileSystem& files, const std::string& path) {
  auto names = files.List(path);
  if (!names) {
    if (names.error().code == ErrorCode::kNotFound) return {};
    return Forward(names.error());
  }
  for (const auto& name : *names) {
    auto removed = files.RemoveFile(fmt::format("{}/{}", path, name));
    if (!removed) return removed;
  }
  return files.RemoveFolder(path);
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put >= 0) {
      bytes.remove_prefix(static_cast<size_t>(put));
    } else if (errno != EINTR) {
      return FailErrno(errno, "writing {} bytes", bytes.size());
    }
  }
  return {};
}

}  // namespace snapfaas
