#include "cli/deployment_package.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <regex>
#include <string_view>
#include <system_error>

#include "images/files.h"
#include "node/unpacker.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxHandlerFileBytes = uint64_t{1} << 20;

using Texts = std::map<std::string, std::string>;

// With `value` wherever `format` has `word`.
std::string Filled(std::string format, std::string_view word, std::string_view value) {
  for (size_t at = format.find(word); at != std::string::npos; at = format.find(word, at + value.size())) {
    format.replace(at, word.size(), value);
  }
  return format;
}

// What functions are called whom nobody has named, in the order that `snapfaas run` tries them.
constexpr std::string_view kHandlerNames[] = {"handler", "handle"};

class HandlerGuess {
 public:
  explicit HandlerGuess(const images::RuntimeRecipe* recipe) : recipe_(recipe) {}

  bool Wants(std::string_view path) const {
    if (recipe_ == nullptr) return false;
    const auto& files = recipe_->handler_files;
    return std::find(files.begin(), files.end(), path) != files.end();
  }

  GuessedHandler Of(const Texts& texts) const {
    GuessedHandler first;
    if (recipe_ == nullptr) return first;
    for (const std::string& file : recipe_->handler_files) {
      const auto found = texts.find(file);
      if (found == texts.end()) continue;
      for (const std::string_view name : kHandlerNames) {
        GuessedHandler handler{Written(file, name), Defines(found->second, name)};
        if (handler.is_sure) return handler;
        if (first.name.empty()) first = std::move(handler);
      }
    }
    return first;
  }

 private:
  // As the runtime's functions are configured with it.
  std::string Written(const std::string& file, std::string_view name) const {
    const std::string module = file.substr(0, file.find_first_of("./"));
    return Filled(Filled(recipe_->handler_format, "{file}", module), "{name}", name);
  }
  bool Defines(const std::string& text, std::string_view name) const {
    // One that names no function needs none in the file.
    if (recipe_->handler_format.find("{name}") == std::string::npos) return true;
    return std::regex_search(text, std::regex(Filled(recipe_->handler_pattern, "{name}", name)));
  }

  const images::RuntimeRecipe* recipe_;
};

// Collects what libarchive writes.
la_ssize_t Append(archive* /*writer*/, void* output, const void* bytes, size_t size) {
  static_cast<std::string*>(output)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

class ZipWriter {
 public:
  ZipWriter() : writer_(::archive_write_new(), &::archive_write_free) {
    ::archive_write_set_format_zip(writer_.get());
    ::archive_write_open2(writer_.get(), &output_, nullptr, &Append, nullptr, nullptr);
  }

  Status AddFile(const std::string& name, const std::string& content, bool is_executable) {
    return Add(name, AE_IFREG, is_executable ? 0755 : 0644, content);
  }
  Status AddLink(const std::string& name, const std::string& target) { return Add(name, AE_IFLNK, 0777, target); }

  Result<std::string> Finish() {
    if (::archive_write_close(writer_.get()) != ARCHIVE_OK) return Failed("the archive");
    return std::move(output_);
  }

 private:
  // The entry has no time.
  Status Add(const std::string& name, mode_t type, mode_t mode, const std::string& content) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), &::archive_entry_free);
    ::archive_entry_set_pathname(entry.get(), name.c_str());
    ::archive_entry_set_filetype(entry.get(), type);
    ::archive_entry_set_perm(entry.get(), mode);
    const bool is_link = type == AE_IFLNK;
    if (is_link) ::archive_entry_set_symlink(entry.get(), content.c_str());
    if (!is_link) ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    if (::archive_write_header(writer_.get(), entry.get()) != ARCHIVE_OK) return Failed(name);
    if (is_link || content.empty()) return {};
    const la_ssize_t put = ::archive_write_data(writer_.get(), content.data(), content.size());
    return put == static_cast<la_ssize_t>(content.size()) ? Status() : Failed(name);
  }

  tl::unexpected<Error> Failed(const std::string& name) const {
    const char* why = ::archive_error_string(writer_.get());
    return Fail(ErrorCode::kSystem, "cannot pack {}: {}", name, why == nullptr ? "no reason given" : why);
  }

  std::string output_;
  std::unique_ptr<archive, int (*)(archive*)> writer_;
};

bool StaysOut(const fs::path& name) { return name == "__pycache__" || name == ".git"; }

// What is to be packed, relative to the folder, sorted.
Result<std::vector<std::string>> ListFiles(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    if (StaysOut(entry->path().filename())) {
      entry.disable_recursion_pending();
    } else if (entry->is_symlink(error) || !entry->is_directory(error)) {
      files.push_back(entry->path().lexically_relative(folder).string());
    }
    if (!error) entry.increment(error);
  }
  if (error) return FailErrno(error.value(), "cannot read the folder {}", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

Status PackFile(ZipWriter& writer, const fs::path& folder, const std::string& name, const HandlerGuess& guess,
                Texts& texts) {
  const fs::path path = folder / name;
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return FailErrno(errno, "cannot look at {}", path.string());
  if (S_ISLNK(info.st_mode)) {
    std::error_code error;
    const fs::path target = fs::read_symlink(path, error);
    if (error) return FailErrno(error.value(), "cannot read the symbolic link {}", path.string());
    return writer.AddLink(name, target.string());
  }
  if (!S_ISREG(info.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, "{} is neither a file nor a folder: take it out of the function's folder",
                path.string());
  }
  auto content = images::ReadWholeFile(path);
  if (!content) return Forward(content.error());
  if (guess.Wants(name) && content->size() <= kMaxHandlerFileBytes) texts[name] = *content;
  return writer.AddFile(name, *content, (info.st_mode & 0111) != 0);
}

Result<DeploymentPackage> PackFolder(const fs::path& folder, const HandlerGuess& guess) {
  auto files = ListFiles(folder);
  if (!files) return Forward(files.error());
  if (files->empty()) return Fail(ErrorCode::kInvalidArgument, "the folder {} has no files", folder.string());
  ZipWriter writer;
  Texts texts;
  for (const std::string& name : *files) {
    if (auto packed = PackFile(writer, folder, name, guess, texts); !packed) return Forward(packed.error());
  }
  auto zip = writer.Finish();
  if (!zip) return Forward(zip.error());
  return DeploymentPackage{*std::move(zip), guess.Of(texts)};
}

Result<DeploymentPackage> ReadArchive(const fs::path& zip, const HandlerGuess& guess) {
  Texts texts;
  auto checked = node::ForEachFile(zip, [&](node::ZipReader& reader, const node::ZipEntry& entry) -> Status {
    if (!guess.Wants(entry.path) || entry.kind != node::ZipEntry::Kind::kFile) return {};
    std::string& text = texts[entry.path];
    std::vector<char> buffer(size_t{64} * 1024);
    while (text.size() < kMaxHandlerFileBytes) {
      auto got = reader.Read(buffer);
      if (!got) return Forward(got.error());
      if (*got == 0) break;
      text.append(buffer.data(), *got);
    }
    return {};
  });
  if (!checked) return Forward(checked.error(), zip.string());
  auto bytes = images::ReadWholeFile(zip);
  if (!bytes) return Forward(bytes.error());
  return DeploymentPackage{*std::move(bytes), guess.Of(texts)};
}

}  // namespace

Result<DeploymentPackage> MakePackage(const fs::path& source, const images::RuntimeRecipe* recipe) {
  std::error_code error;
  const fs::file_status status = fs::status(source, error);
  if (!fs::exists(status)) return Fail(ErrorCode::kNotFound, "there is no function folder {}", source.string());
  const HandlerGuess guess(recipe);
  return fs::is_directory(status) ? PackFolder(source, guess) : ReadArchive(source, guess);
}

}  // namespace snapfaas::cli
