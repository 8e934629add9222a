// Small helpers for files: read one whole, and publish files and folders so that nobody sees a half of them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas::images {

Result<std::string> ReadWholeFile(const std::filesystem::path& path);
Status WriteWholeFile(const std::filesystem::path& path, std::string_view content);
Status MakeFolders(const std::filesystem::path& path);

// The size of a regular file. kNotFound when there is none.
Result<uint64_t> FileSize(const std::filesystem::path& path);

// A folder of a name nobody else has, below `parent`; removed with all it holds unless it was published.
class TemporaryFolder {
 public:
  // Removes those that processes which did not come to their end have left below `parent`. REQUIRES: nobody uses one.
  static void RemoveLeftovers(const std::filesystem::path& parent);

  // Its name begins with ".tmp-".
  static Result<TemporaryFolder> Create(const std::filesystem::path& parent);

  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const { return path_; }

  // Gives the folder its final name, in place of an older folder there.
  Status Publish(const std::filesystem::path& final_path);

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

// Held while one process builds below `folder`; another waits. Gone when the object is, or the process.
class FolderLock {
 public:
  static Result<FolderLock> Acquire(const std::filesystem::path& folder);

 private:
  explicit FolderLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace snapfaas::images
