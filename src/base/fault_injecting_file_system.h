// For tests: a real folder on a file system that fails when told to, and that forgets at a simulated power cut what was
// not synced.
//
// Durable are a file's bytes as of its last SyncFile, and a folder's names as of its last SyncFolder; everything that
// is there at the start is durable. Bytes may be written through any descriptor.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "base/file_system.h"

namespace snapfaas {

// What a restart loses.
enum class Losses {
  kNothing,          // only the process died
  kUnsyncedBytes,    // names are as they were; bytes that were not synced are gone (delayed allocation)
  kUnsyncedAnything  // names too
};

class FaultInjectingFileSystem : public FileSystem {
 public:
  // Everything happens under `root`, an existing folder.
  explicit FaultInjectingFileSystem(std::string root);

  // Operations that change something are counted: CreateFolder, RemoveFile, RemoveFolder, Rename, OpenForWriting,
  // SyncFile, SyncFolder, Touch. Counting starts anew with each of these calls.
  void FailAt(int operation, int os_errno);  // this one, once, before it has an effect; the first is 0
  void CrashAt(int operation);               // this one and everything after it, reads too, until Restart
  int operations() const { return operations_; }
  bool crashed() const { return crashed_; }

  // Turns the folder into what a power cut would have left, and works again without faults.
  // REQUIRES: no descriptor below the root is used afterwards.
  Status Restart(Losses losses);

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

 private:
  // A file or folder, by inode number. The descriptor keeps the number from being given to another.
  struct Node {
    UniqueFd pin;
    bool is_folder = false;
    std::string bytes;                     // durable, of a file
    std::map<std::string, ino_t> entries;  // durable, of a folder
  };
  // Path below the root -> bytes of a file, or nothing for a folder.
  using Tree = std::map<std::string, const std::string*>;

  Status Change(const std::string& path);
  Status Look(const std::string& path) const;
  ino_t NodeOf(const std::string& path);
  void NoteBytes(const std::string& path);
  void NoteEntries(const std::string& path);
  void NoteTree(const std::string& path);
  void CollectDurable(ino_t folder, const std::string& path, Tree& tree) const;
  void CollectPresent(const std::string& folder, const std::string& path, Tree& tree);

  PosixFileSystem real_;
  std::string root_;
  std::map<ino_t, Node> nodes_;
  int operations_ = 0;
  int fail_at_ = -1;
  int fail_errno_ = 0;
  int crash_at_ = -1;
  bool crashed_ = false;
};

}  // namespace snapfaas
