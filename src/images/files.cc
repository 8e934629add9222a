#include "images/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace snapfaas::images {
namespace fs = std::filesystem;

Result<std::string> ReadWholeFile(const fs::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FailErrno(errno, "cannot open {}", path.string());
  std::string content;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "cannot read {}", path.string());
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
  }
}

Status WriteWholeFile(const fs::path& path, std::string_view content) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return FailErrno(errno, "cannot create {}", path.string());
  while (!content.empty()) {
    const ssize_t put = ::write(fd.get(), content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FailErrno(errno, "cannot write {}", path.string());
    content.remove_prefix(static_cast<size_t>(put));
  }
  if (::fsync(fd.get()) != 0) return FailErrno(errno, "cannot write {}", path.string());
  return {};
}

Status MakeFolders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FailErrno(error.value(), "cannot create the folder {}", path.string());
  return {};
}

Result<uint64_t> FileSize(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return FailErrno(errno, "cannot open {}", path.string());
  if (!S_ISREG(status.st_mode)) return Fail(ErrorCode::kInvalidArgument, "{} is not a file", path.string());
  return static_cast<uint64_t>(status.st_size);
}

void TemporaryFolder::RemoveLeftovers(const fs::path& parent) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (entry.path().filename().string().starts_with(".tmp-")) fs::remove_all(entry.path(), ignored);
  }
}

Result<TemporaryFolder> TemporaryFolder::Create(const fs::path& parent) {
  if (auto made = MakeFolders(parent); !made) return Forward(made.error());
  std::string name = (parent / ".tmp-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) return FailErrno(errno, "cannot create a folder in {}", parent.string());
  // What is published must be readable by whoever may read its parent.
  ::chmod(name.c_str(), 0755);
  return TemporaryFolder(name);
}

TemporaryFolder::~TemporaryFolder() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Status TemporaryFolder::Publish(const fs::path& final_path) {
  // Contents before name: after a crash the final name must not stand for a half of them.
  if (const UniqueFd folder(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); folder.valid()) {
    ::syncfs(folder.get());
  }
  if (::rename(path_.c_str(), final_path.c_str()) == 0) {
    path_.clear();
    return {};
  }
  // An older folder is there: swap, and let the destructor remove it under the temporary name.
  if ((errno == ENOTEMPTY || errno == EEXIST) &&
      ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
    return {};
  }
  return FailErrno(errno, "cannot rename {} to {}", path_.string(), final_path.string());
}

Result<FolderLock> FolderLock::Acquire(const fs::path& folder) {
  if (auto made = MakeFolders(folder); !made) return Forward(made.error());
  const fs::path path = folder / ".lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid()) return FailErrno(errno, "cannot create {}", path.string());
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return FailErrno(errno, "cannot lock {}", path.string());
  }
  return FolderLock(std::move(fd));
}

}  // namespace snapfaas::images
