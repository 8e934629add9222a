#include "node/unpacker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/file_system.h"
#include "base/unique_fd.h"

namespace snapfaas::node {
namespace {

namespace fs = std::filesystem;

constexpr size_t kChunk = size_t{256} * 1024;

// Two entries that cannot both be, like a file and something below it.
tl::unexpected<Error> Contradiction(const std::string& path) {
  return Fail(ErrorCode::kInvalidArgument, "the archive has \"{}\" twice, as a folder and as something else", path);
}

// The folder `path` below `root`, made where it is missing; each step from the one before, and none through a link.
Result<UniqueFd> OpenFolder(int root, const std::string& path) {
  UniqueFd folder(::fcntl(root, F_DUPFD_CLOEXEC, 0));
  if (!folder.valid()) return FailErrno(errno, "duplicating a folder's descriptor");
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (::mkdirat(folder.get(), name.c_str(), 0700) == 0) {
      if (::fchmodat(folder.get(), name.c_str(), 0755, 0) != 0)
        return FailErrno(errno, "cannot set the mode of {}", path);
    } else if (errno != EEXIST) {
      return FailErrno(errno, "cannot unpack the folder {}", path);
    }
    UniqueFd next(::openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid() && (errno == ENOTDIR || errno == ELOOP)) return Contradiction(path);
    if (!next.valid()) return FailErrno(errno, "cannot open the folder {}", path);
    folder = std::move(next);
  }
  return folder;
}

Status WriteFile(ZipReader& reader, int folder, const std::string& name, const ZipEntry& entry) {
  const UniqueFd file(::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return FailErrno(errno, "cannot unpack {}", entry.path);
  const auto buffer = std::make_unique<std::array<char, kChunk>>();
  for (;;) {
    auto got = reader.Read(*buffer);
    if (!got) return Forward(got.error());
    if (*got == 0) break;
    auto written = WriteAll(file.get(), {buffer->data(), *got});
    if (!written) return Forward(written.error(), "cannot unpack " + entry.path);
  }
  if (::fchmod(file.get(), entry.is_executable ? 0755 : 0644) != 0) {
    return FailErrno(errno, "cannot set the mode of {}", entry.path);
  }
  return {};
}

Status UnpackEntry(ZipReader& reader, int root, const ZipEntry& entry) {
  if (entry.kind == ZipEntry::Kind::kFolder) {
    auto folder = OpenFolder(root, entry.path);
    return folder ? Status() : Forward(folder.error());
  }
  const size_t slash = entry.path.rfind('/');
  const bool is_top = slash == std::string::npos;
  auto folder = OpenFolder(root, is_top ? std::string() : entry.path.substr(0, slash));
  if (!folder) return Forward(folder.error());
  const std::string name = is_top ? entry.path : entry.path.substr(slash + 1);
  if (::unlinkat(folder->get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    if (errno == EISDIR || errno == EPERM) return Contradiction(entry.path);
    return FailErrno(errno, "cannot replace {}", entry.path);
  }
  if (entry.kind == ZipEntry::Kind::kFile) return WriteFile(reader, folder->get(), name, entry);
  if (::symlinkat(entry.target.c_str(), folder->get(), name.c_str()) != 0) {
    return FailErrno(errno, "cannot unpack the symbolic link {}", entry.path);
  }
  return {};
}

Status ReadRest(ZipReader& reader, std::span<char> buffer) {
  for (;;) {
    auto got = reader.Read(buffer);
    if (!got) return Forward(got.error());
    if (*got == 0) return {};
  }
}

}  // namespace

Status ForEachFile(const fs::path& zip, const TakeEntry& take, const ZipLimits& limits) {
  auto reader = ZipReader::Open(zip, limits);
  if (!reader) return Forward(reader.error());
  const auto buffer = std::make_unique<std::array<char, kChunk>>();
  for (;;) {
    auto entry = reader->Next();
    if (!entry) return Forward(entry.error());
    if (!entry->has_value()) return {};
    Status done;
    if (take) done = take(*reader, **entry);
    if (done && (*entry)->kind == ZipEntry::Kind::kFile) done = ReadRest(*reader, *buffer);
    if (!done) return done;
  }
}

Status Unpack(const fs::path& zip, const fs::path& folder) {
  // Whatever the process's umask.
  if (::mkdir(folder.c_str(), 0700) != 0 || ::chmod(folder.c_str(), 0755) != 0) {
    return FailErrno(errno, "cannot make the folder {}", folder.string());
  }
  const UniqueFd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return FailErrno(errno, "cannot open the folder {}", folder.string());
  return ForEachFile(
      zip, [&root](ZipReader& reader, const ZipEntry& entry) { return UnpackEntry(reader, root.get(), entry); });
}

}  // namespace snapfaas::node
