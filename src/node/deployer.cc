#include "node/deployer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file_system.h"
#include "base/json.h"
#include "base/mapped_region.h"
#include "base/unique_fd.h"
#include "images/appfs.h"
#include "images/erofs.h"
#include "images/files.h"
#include "node/unpacker.h"
#include "snapshot/hash.h"

namespace snapfaas::node {

namespace fs = std::filesystem;

// Which images are in use although the registry may not know of them yet.
class Deployer::Holds : public std::enable_shared_from_this<Deployer::Holds> {
 public:
  std::shared_ptr<const void> Take(const std::string& hash) {
    const std::lock_guard lock(mutex_);
    held_.insert(hash);
    // The last owner of what is returned lets go; it owns these counts, which a Deployer may not outlive.
    return {static_cast<const void*>(this), [self = shared_from_this(), hash](const void*) { self->LetGo(hash); }};
  }
  // Nobody takes hold of anything while it lives.
  std::unique_lock<std::mutex> Lock() { return std::unique_lock(mutex_); }
  // REQUIRES: locked.
  bool Has(const std::string& hash) const { return held_.contains(hash); }

 private:
  void LetGo(const std::string& hash) {
    const std::lock_guard lock(mutex_);
    held_.erase(held_.find(hash));
  }

  std::mutex mutex_;
  std::multiset<std::string> held_;
};

namespace {

constexpr std::string_view kSuffix = ".erofs";

std::string ConfigurationJson(const FunctionImageConfig& config) {
  const nlohmann::json json = {{"handler", config.handler},
                               {"environment", config.environment},
                               {"functionName", config.function},
                               {"functionVersion", config.version},
                               {"memorySize", config.memory_mib},
                               {"region", config.region},
                               {"arn", config.arn}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// In place of whatever the archive has put there.
Status AddConfiguration(const fs::path& folder, const FunctionImageConfig& config) {
  const fs::path own = folder / ".snapfaas";
  std::error_code error;
  fs::remove_all(own, error);
  if (!error) fs::create_directory(own, error);
  if (error) return FailErrno(error.value(), "cannot make {}", own.string());
  const fs::path file = own / "function.json";
  if (auto written = images::WriteWholeFile(file, ConfigurationJson(config)); !written) return written;
  // Whatever the process's umask.
  if (::chmod(own.c_str(), 0755) != 0 || ::chmod(file.c_str(), 0644) != 0) {
    return FailErrno(errno, "cannot set the mode of {}", own.string());
  }
  return {};
}

Result<std::string> HashOf(const fs::path& image) {
  const UniqueFd fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return FailErrno(errno, "cannot open {}", image.string());
  auto bytes = MappedRegion::OfFile(fd.get(), 0, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE);
  if (!bytes) return Forward(bytes.error(), image.string());
  return snapshot::IdentityHash({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
}

// mkfs.erofs says in words alone that the disk is full: as such, or as a write that was cut short.
Error WithoutSpace(Error error, const std::string& function, const fs::path& folder) {
  const auto says = [&error](std::string_view words) { return error.context.find(words) != std::string::npos; };
  if (error.os_errno != ENOSPC && !says("was truncated") && !says(::strerror(ENOSPC))) return error;
  return {ErrorCode::kResourceExhausted, 0,
          fmt::format("cannot make the image of {}: the disk of {} is full", function, folder.string())};
}

Status EmptyFolder(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return FailErrno(error.value(), "cannot empty the folder {}", folder.string());
  return images::MakeFolders(folder);
}

// The hash that a file of the images' folder is named by; empty: it is no image.
std::string HashInName(const std::string& name) {
  if (!name.ends_with(kSuffix)) return {};
  return name.substr(0, name.size() - kSuffix.size());
}

bool IsHash(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Status CheckZip(const fs::path& zip) { return ForEachFile(zip, nullptr); }

Deployer::Deployer(const fs::path& node_folder)
    : images_(node_folder / "images"), temporary_(node_folder / "tmp"), holds_(std::make_shared<Holds>()) {}

Result<Deployer> Deployer::Open(const fs::path& node_folder) {
  Deployer deployer(node_folder);
  auto ready = images::MakeFolders(deployer.images_);
  if (ready) ready = EmptyFolder(deployer.temporary_);
  if (!ready) return Forward(ready.error());
  return deployer;
}

fs::path Deployer::PathOf(const std::string& hash) const { return images_ / (hash + std::string(kSuffix)); }

Status Deployer::Publish(const fs::path& made, const fs::path& path) const {
  PosixFileSystem files;
  // Contents before name: after a crash the name must not stand for a half of them.
  auto done = files.SyncFile(made.string());
  if (done) done = files.Rename(made.string(), path.string());
  if (done) done = files.SyncFolder(images_.string());
  return done;
}

Result<DeployedImage> Deployer::MakeImage(const fs::path& zip, const FunctionImageConfig& config,
                                          const images::RuntimeImages& runtime) {
  auto folder = images::TemporaryFolder::Create(temporary_);
  if (!folder) return Forward(folder.error());
  const fs::path code = folder->path() / "code";
  const fs::path made = folder->path() / "image.erofs";
  auto done = Unpack(zip, code);
  if (done) done = AddConfiguration(code, config);
  if (done) {
    done = images::BuildAppfs(code, runtime.recipe, runtime.compile_command, made, images::HandlerCheck::kNone,
                              runtime.packages);
  }
  if (!done) return Forward(WithoutSpace(done.error(), config.function, temporary_));
  auto hash = HashOf(made);
  if (!hash) return Forward(hash.error());
  DeployedImage image;
  image.hash = *hash;
  image.path = PathOf(*hash);
  // Held before it is there, or a Sweep could come between.
  image.hold = holds_->Take(*hash);
  if (auto published = Publish(made, image.path); !published) return Forward(published.error());
  auto size = images::FileSize(image.path);
  if (!size) return Forward(size.error());
  image.bytes = *size;
  return image;
}

Result<DeployedImage> Deployer::Find(const std::string& hash) {
  if (!IsHash(hash)) return Fail(ErrorCode::kInvalidArgument, "\"{}\" names no image", hash);
  DeployedImage image;
  image.hash = hash;
  image.path = PathOf(hash);
  image.hold = holds_->Take(hash);
  auto size = images::FileSize(image.path);
  if (!size) return Forward(size.error(), "the function's image");
  image.bytes = *size;
  if (auto whole = images::CheckErofsImage(image.path); !whole) return Forward(whole.error());
  return image;
}

Result<size_t> Deployer::Sweep(const std::set<std::string>& keep) {
  PosixFileSystem files;
  const auto lock = holds_->Lock();
  auto names = files.List(images_.string());
  if (!names) return Forward(names.error());
  size_t removed = 0;
  for (const std::string& name : *names) {
    const std::string hash = HashInName(name);
    if (!IsHash(hash) || keep.contains(hash) || holds_->Has(hash)) continue;
    if (auto gone = files.RemoveFile((images_ / name).string()); !gone) return Forward(gone.error());
    ++removed;
  }
  return removed;
}

}  // namespace snapfaas::node
