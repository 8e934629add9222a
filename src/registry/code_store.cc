#include "registry/code_store.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/base64.h"
#include "registry/registry.h"

namespace snapfaas::registry {
namespace {

constexpr size_t kMaxZip = size_t{256} << 20;

Result<std::string> Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return Fail(ErrorCode::kSystem, "OpenSSL cannot compute a SHA-256");
  }
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

unsigned char HexValue(char c) { return static_cast<unsigned char>(c <= '9' ? c - '0' : c - 'a' + 10); }

}  // namespace

std::string CodeSha256(const Code& code) {
  std::string digest;
  for (size_t i = 0; i + 1 < code.sha256.size(); i += 2) {
    digest.push_back(static_cast<char>(HexValue(code.sha256[i]) * 16 + HexValue(code.sha256[i + 1])));
  }
  return EncodeBase64(digest);
}

StoredCode::StoredCode(CodeStore* store, Code code) : store_(store), code_(std::move(code)) {}
StoredCode::StoredCode(StoredCode&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)), code_(std::move(other.code_)) {}
StoredCode::~StoredCode() {
  if (store_ != nullptr) store_->Drop(code_.sha256);
}
std::filesystem::path StoredCode::path() const { return store_->PathOf(code_.sha256); }

CodeStore::CodeStore(FileSystem& files, std::filesystem::path folder, Registry& registry)
    : files_(files), folder_(std::move(folder)), registry_(registry) {}

Result<std::unique_ptr<CodeStore>> CodeStore::Open(FileSystem& files, const std::filesystem::path& folder,
                                                   Registry& registry) {
  auto made = CreateFolders(files, folder.string());
  if (!made) return Forward(made.error());
  auto store = std::unique_ptr<CodeStore>(new CodeStore(files, folder, registry));
  auto swept = store->Sweep();
  if (!swept) return Forward(swept.error());
  return store;
}

Status CodeStore::Sweep() {
  const std::lock_guard lock(mutex_);
  auto used = registry_.CodeInUse();
  if (!used) return Forward(used.error());
  auto names = files_.List(folder_.string());
  if (!names) return Forward(names.error());
  Status swept;
  for (const auto& name : *names) {
    if (used->contains(name) || holders_.contains(name)) continue;
    auto removed = files_.RemoveFile((folder_ / name).string());
    if (!removed) swept = std::move(removed);
  }
  return swept;
}

Result<StoredCode> CodeStore::Put(std::string_view zip) {
  auto sha256 = Sha256Hex(zip);
  if (!sha256) return Forward(sha256.error());
  const std::lock_guard lock(mutex_);
  auto exists = files_.Exists(PathOf(*sha256).string());
  if (!exists) return Forward(exists.error());
  if (!*exists) {
    auto published = Publish(*sha256, zip);
    if (!published) return Forward(published.error(), "keeping the function's code");
  }
  ++holders_[*sha256];
  return StoredCode(this, Code{*sha256, zip.size()});
}

Status CodeStore::Publish(const std::string& sha256, std::string_view zip) {
  const std::string temporary = (folder_ / fmt::format("{}.{}.tmp", sha256, next_temporary_++)).string();
  const auto write = [&]() -> Status {
    auto file = files_.OpenForWriting(temporary);
    if (!file) return Forward(file.error());
    if (auto written = WriteAll(file->get(), zip); !written) return written;
    if (auto synced = files_.SyncFile(temporary); !synced) return synced;
    if (auto renamed = files_.Rename(temporary, PathOf(sha256).string()); !renamed) return renamed;
    return files_.SyncFolder(folder_.string());
  };
  auto done = write();
  if (!done) {
    // Best effort: a sweep removes what is left. What was renamed but not synced must not pass for published.
    [[maybe_unused]] const auto no_temporary = files_.RemoveFile(temporary);
    [[maybe_unused]] const auto no_zip = files_.RemoveFile(PathOf(sha256).string());
  }
  return done;
}

std::filesystem::path CodeStore::PathOf(const std::string& sha256) const { return folder_ / sha256; }

Result<std::string> CodeStore::Read(const std::string& sha256) {
  return files_.ReadSmallFile(PathOf(sha256).string(), kMaxZip);
}

void CodeStore::Drop(const std::string& sha256) {
  const std::lock_guard lock(mutex_);
  const auto holder = holders_.find(sha256);
  if (--holder->second > 0) return;
  holders_.erase(holder);
  const auto used = registry_.CodeInUse();
  if (!used || used->contains(sha256)) return;
  // Best effort: a sweep removes what is left.
  [[maybe_unused]] const auto removed = files_.RemoveFile(PathOf(sha256).string());
}

}  // namespace snapfaas::registry
