// FileSystem: the one seam between the stores on disk and the operating system, so that tests can lose what was not
// synced and fail any operation (base/fault_injecting_file_system.h).
//
// Errors carry the errno and name the path. Descriptors are close-on-exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas {

// flock(2).
enum class LockMode {
  kShared,        // waits
  kTryShared,     // kUnavailable at once when somebody holds it exclusively
  kExclusive,     // waits
  kTryExclusive,  // kUnavailable at once when somebody holds it
};

struct FileInfo {
  bool is_folder = false;
  uint64_t disk_bytes = 0;  // without what is in a folder
  int64_t modified_unix_ns = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // One folder, mode 0700; kAlreadyExists when the name is taken.
  virtual Status CreateFolder(const std::string& path) = 0;
  virtual Status RemoveFile(const std::string& path) = 0;
  // REQUIRES: the folder is empty.
  virtual Status RemoveFolder(const std::string& path) = 0;
  // As rename(2): a file replaces a file; a folder replaces an empty folder at most.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;

  // A new empty file, mode 0600, open for reading and writing; kAlreadyExists when the name is taken.
  virtual Result<UniqueFd> OpenForWriting(const std::string& path) = 0;
  // Follows no symbolic link.
  virtual Result<UniqueFd> OpenForReading(const std::string& path) = 0;

  // After these the file's bytes, or the folder's names, outlast a power cut.
  virtual Status SyncFile(const std::string& path) = 0;
  virtual Status SyncFolder(const std::string& path) = 0;

  // Names in the folder, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  virtual Result<uint64_t> FileSize(const std::string& path) = 0;
  virtual Result<FileInfo> Inspect(const std::string& path) = 0;
  // The time of modification becomes now.
  virtual Status Touch(const std::string& path) = 0;
  // The whole file; kCorrupt when it is longer than `limit`.
  virtual Result<std::string> ReadSmallFile(const std::string& path, size_t limit) = 0;

  // Held until the descriptor is closed.
  virtual Result<UniqueFd> LockFolder(const std::string& path, LockMode mode) = 0;
};

class PosixFileSystem : public FileSystem {
 public:
  Status CreateFolder(const std::string& path) override;
  Status RemoveFile(const std::string& path) override;
  Status RemoveFolder(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Result<UniqueFd> OpenForWriting(const std::string& path) override;
  Result<UniqueFd> OpenForReading(const std::string& path) override;
  Status SyncFile(const std::string& path) override;
  Status SyncFolder(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& folder) override;
  Result<bool> Exists(const std::string& path) override;
  Result<uint64_t> FileSize(const std::string& path) override;
  Result<FileInfo> Inspect(const std::string& path) override;
  Status Touch(const std::string& path) override;
  Result<std::string> ReadSmallFile(const std::string& path, size_t limit) override;
  Result<UniqueFd> LockFolder(const std::string& path, LockMode mode) override;
};

// The folder and those above it, where they are missing.
Status CreateFolders(FileSystem& files, const std::string& path);

// A folder of files only, with its files; succeeds when there is none.
Status RemoveFlatFolder(FileSystem& files, const std::string& path);

// On an open file or folder, whose path is for errors. Held until its last duplicate and mapping are gone.
Status Lock(int fd, LockMode mode, const std::string& path);

// All of `bytes`, at the descriptor's position.
Status WriteAll(int fd, std::string_view bytes);

}  // namespace snapfaas
