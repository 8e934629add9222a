#include "host/resident_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <system_error>

#include "base/unique_fd.h"
#include "host/machine_setup.h"

namespace snapfaas::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopies = "/run/snapfaas-resident";

std::string CopyPrefix(const std::string& file) { return fmt::format("{:016x}-", std::hash<std::string>()(file)); }

// The name changes whenever the file does.
std::string CopyName(const std::string& file, const struct stat& info) {
  return fmt::format("{}{:x}-{:x}-{:x}.{:x}-{:x}.{:x}", CopyPrefix(file), info.st_ino, info.st_size,
                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

Status Copy(const std::string& source, const fs::path& target, const struct stat& info) {
  const UniqueFd in(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in.valid()) return FailErrno(errno, "opening {}", source);
  const std::string temporary = target.string() + ".new";
  UniqueFd out(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, info.st_mode & 07777));
  if (!out.valid()) return FailErrno(errno, "making {}", temporary);
  constexpr size_t kMostAtOnce = size_t{1} << 30;
  ssize_t n = 0;
  while ((n = ::sendfile(out.get(), in.get(), nullptr, kMostAtOnce)) > 0) {
  }
  if (n < 0) {
    const int cause = errno;
    ::unlink(temporary.c_str());
    return FailErrno(cause, "copying {}", source);
  }
  out.Reset();  // a program cannot be executed while it is open for writing
  if (::rename(temporary.c_str(), target.c_str()) != 0) return FailErrno(errno, "making {}", target.string());
  return {};
}

void RemoveOlderCopies(const std::string& file, const fs::path& kept) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kCopies, ignored)) {
    const bool is_of_file = entry.path().filename().string().starts_with(CopyPrefix(file));
    if (is_of_file && entry.path() != kept) fs::remove(entry.path(), ignored);
  }
}

}  // namespace

Status KeepResident(const std::string& file) {
  const std::string source = kLiveRoot + file;
  struct stat current {};
  if (::stat(source.c_str(), &current) != 0 || !S_ISREG(current.st_mode)) return {};

  std::error_code failure;
  fs::create_directories(kCopies, failure);
  const UniqueFd lock(::open(kCopies, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX) != 0) return FailErrno(errno, "locking {}", kCopies);
  struct stat folder {};
  struct stat seen {};
  struct stat copied {};
  const fs::path copy = fs::path(kCopies) / CopyName(file, current);
  ::fstat(lock.get(), &folder);
  const bool is_seen = ::stat(file.c_str(), &seen) == 0;
  if (is_seen && ::stat(copy.c_str(), &copied) == 0 && seen.st_dev == copied.st_dev && seen.st_ino == copied.st_ino) {
    return {};
  }
  if (auto status = Copy(source, copy, current); !status) {
    // It is read through the shared folder then.
    if (status.error().code == ErrorCode::kResourceExhausted) return {};
    return status;
  }
  if (is_seen && seen.st_dev == folder.st_dev) ::umount2(file.c_str(), MNT_DETACH);
  if (::mount(copy.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return FailErrno(errno, "binding a copy over {}", file);
  }
  RemoveOlderCopies(file, copy);
  return {};
}

}  // namespace snapfaas::host
