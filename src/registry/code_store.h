// CodeStore: the zips of functions, one file for each content, named by its sha256, in one folder.
//
// A zip is published by temporary, sync and rename. It goes when no version of the registry refers to it, but not
// before everybody who holds a StoredCode of it has dropped that: between Put and the registry's taking it.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/file_system.h"
#include "base/result.h"
#include "registry/function.h"

namespace snapfaas::registry {

class Registry;
class CodeStore;

// Base64 of the digest, as CodeSha256 has it.
std::string CodeSha256(const Code& code);

// Keeps a zip from being swept. Where nobody else wants it, it goes when this is dropped. Move-only; the store must
// outlive it.
class StoredCode {
 public:
  StoredCode(StoredCode&& other) noexcept;
  StoredCode& operator=(StoredCode&&) = delete;
  StoredCode(const StoredCode&) = delete;
  StoredCode& operator=(const StoredCode&) = delete;
  ~StoredCode();

  const Code& code() const { return code_; }
  std::filesystem::path path() const;

 private:
  friend class CodeStore;
  StoredCode(CodeStore* store, Code code);

  CodeStore* store_;
  Code code_;
};

class CodeStore {
 public:
  // Makes the folder, and removes what the registry does not refer to. All three must outlive the store.
  static Result<std::unique_ptr<CodeStore>> Open(FileSystem& files, const std::filesystem::path& folder,
                                                 Registry& registry);

  Result<StoredCode> Put(std::string_view zip);

  // Where a zip lies; it need not be there any more.
  std::filesystem::path PathOf(const std::string& sha256) const;
  // The whole zip; kNotFound when it is gone.
  Result<std::string> Read(const std::string& sha256);

  // Removes what nobody wants. What could not be removed is left for the next time.
  Status Sweep();

 private:
  friend class StoredCode;
  CodeStore(FileSystem& files, std::filesystem::path folder, Registry& registry);

  Status Publish(const std::string& sha256, std::string_view zip);
  void Drop(const std::string& sha256);

  FileSystem& files_;
  const std::filesystem::path folder_;
  Registry& registry_;
  std::mutex mutex_;
  std::map<std::string, int> holders_;  // by sha256
  uint64_t next_temporary_ = 0;
};

}  // namespace snapfaas::registry
