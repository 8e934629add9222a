#include "snapshot/io.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace snapfaas::snapshot {
namespace {

tl::unexpected<Error> FailWriting(int os_errno, std::string_view what) {
  if (os_errno == ENOSPC || os_errno == EDQUOT || os_errno == EFBIG) {
    return FailErrno(os_errno, "{} does not fit; free disk space and try again", what);
  }
  return FailErrno(os_errno, "writing {}", what);
}

}  // namespace

Status ReadAt(int fd, uint64_t offset, std::span<uint8_t> to, std::string_view what) {
  while (!to.empty()) {
    const ssize_t got = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
    if (got > 0) {
      to = to.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    } else if (got == 0) {
      return Fail(ErrorCode::kCorrupt, "{} is truncated at {} bytes", what, offset);
    } else if (errno != EINTR) {
      return FailErrno(errno, "reading {}", what);
    }
  }
  return {};
}

Status WriteAt(int fd, uint64_t offset, std::span<const uint8_t> from, std::string_view what) {
  while (!from.empty()) {
    const ssize_t put = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
    if (put >= 0) {
      from = from.subspan(static_cast<size_t>(put));
      offset += static_cast<uint64_t>(put);
    } else if (errno != EINTR) {
      return FailWriting(errno, what);
    }
  }
  return {};
}

Result<uint64_t> SizeOf(int fd, std::string_view what) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "looking at {}", what);
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kCorrupt, "{} is not a regular file", what);
  return static_cast<uint64_t>(info.st_size);
}

Status SetSize(int fd, uint64_t size, std::string_view what) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return FailWriting(errno, what);
  return {};
}

}  // namespace snapfaas::snapshot
