#include "node/zip_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <clocale>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <vector>

namespace snapfaas::node {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBlock = size_t{64} * 1024;
constexpr size_t kMaxNameBytes = 255;  // NAME_MAX
constexpr size_t kMaxPathBytes = 2048;
// An end-of-central-directory record alone (PKWARE's APPNOTE, 4.3.16).
constexpr uint64_t kEmptyZipBytes = 22;

// libarchive takes names from UTF-8 to the thread's locale and back, and a daemon's is "C".
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) previous_ = ::uselocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    if (locale_ == nullptr) return;
    ::uselocale(previous_);
    ::freelocale(locale_);
  }

 private:
  locale_t locale_;
  locale_t previous_ = nullptr;
};

std::vector<std::string_view> Split(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") names.push_back(name);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return names;
}

// For messages: names come from whoever made the archive.
std::string Printable(std::string_view name) {
  constexpr size_t kShown = 200;
  std::string shown;
  for (const char c : name.substr(0, kShown)) shown.push_back(static_cast<unsigned char>(c) < ' ' ? '?' : c);
  return shown;
}

// The path without what does not matter. Empty: the folder itself.
Result<std::string> CleanPath(std::string_view path) {
  if (path.starts_with('/')) {
    return Fail(ErrorCode::kInvalidArgument, "the archive has the absolute path \"{}\": make it from inside the folder",
                Printable(path));
  }
  std::string clean;
  for (const std::string_view name : Split(path)) {
    if (name == "..") {
      return Fail(ErrorCode::kInvalidArgument, "the archive's path \"{}\" leads out of its folder", Printable(path));
    }
    if (name.size() > kMaxNameBytes) {
      return Fail(ErrorCode::kInvalidArgument, "the archive has a file name of more than {} bytes: \"{}...\"",
                  kMaxNameBytes, Printable(name));
    }
    if (!clean.empty()) clean.push_back('/');
    clean.append(name);
  }
  if (clean.size() > kMaxPathBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the archive has a path of more than {} bytes: \"{}...\"", kMaxPathBytes,
                Printable(clean));
  }
  return clean;
}

Status CheckLink(std::string_view path, std::string_view target) {
  // As far down as the link's own folder is.
  size_t depth = Split(path).size() - 1;
  bool leads_out = target.empty() || target.starts_with('/') || target.size() > kMaxPathBytes;
  for (const std::string_view name : Split(target)) {
    if (name != "..") {
      ++depth;
    } else if (depth == 0) {
      leads_out = true;
    } else {
      --depth;
    }
  }
  if (!leads_out) return {};
  return Fail(ErrorCode::kInvalidArgument,
              "the archive's symbolic link \"{}\" leads out of its folder, to \"{}\": put the file itself there",
              Printable(path), Printable(target));
}

std::string_view OrEmpty(const char* text) { return text == nullptr ? std::string_view() : std::string_view(text); }

Result<ZipEntry> EntryOf(archive_entry* header) {
  const std::string_view name = OrEmpty(::archive_entry_pathname(header));
  if (name.empty()) return Fail(ErrorCode::kInvalidArgument, "the archive has a file without a name");
  if (::archive_entry_is_encrypted(header) != 0) {
    return Fail(ErrorCode::kInvalidArgument, "the archive is encrypted: make one without a password");
  }
  auto path = CleanPath(name);
  if (!path) return Forward(path.error());
  ZipEntry entry;
  entry.path = *std::move(path);
  entry.is_executable = (::archive_entry_perm(header) & 0111) != 0;
  switch (::archive_entry_filetype(header)) {
    case AE_IFREG:
      break;
    case AE_IFDIR:
      entry.kind = ZipEntry::Kind::kFolder;
      break;
    case AE_IFLNK:
      entry.kind = ZipEntry::Kind::kLink;
      entry.target = OrEmpty(::archive_entry_symlink(header));
      break;
    default:
      return Fail(ErrorCode::kInvalidArgument,
                  "the archive's \"{}\" is neither a file nor a folder nor a symbolic link: leave it out",
                  Printable(name));
  }
  if (entry.kind != ZipEntry::Kind::kFolder && entry.path.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "the archive has a file without a name");
  }
  if (entry.kind == ZipEntry::Kind::kLink) {
    if (auto checked = CheckLink(entry.path, entry.target); !checked) return Forward(checked.error());
  }
  return entry;
}

}  // namespace

void ZipReader::CloseArchive::operator()(archive* opened) const { ::archive_read_free(opened); }

tl::unexpected<Error> ZipReader::Refuse() const {
  if (::archive_errno(archive_.get()) == ENOMEM) return FailErrno(ENOMEM, "cannot read the archive");
  const std::string_view why = OrEmpty(::archive_error_string(archive_.get()));
  return Fail(ErrorCode::kInvalidArgument, "the file is not a whole zip archive ({}): make and upload it again",
              why.empty() ? "damaged" : Printable(why));
}

Result<ZipReader> ZipReader::Open(const fs::path& zip, const ZipLimits& limits) {
  std::error_code error;
  const uint64_t size = fs::file_size(zip, error);
  if (error) return FailErrno(error.value(), "cannot open the archive {}", zip.string());
  if (size > limits.zip_bytes) {
    return Fail(ErrorCode::kInvalidArgument, "the archive has {} bytes; at most {} can be deployed", size,
                limits.zip_bytes);
  }
  if (size <= kEmptyZipBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the archive is empty: put the function's files into it");
  }
  ZipReader reader(::archive_read_new(), limits);
  if (reader.archive_ == nullptr) return FailErrno(ENOMEM, "cannot read the archive");
  ::archive_read_support_format_zip_seekable(reader.archive_.get());
  if (::archive_read_open_filename(reader.archive_.get(), zip.c_str(), kReadBlock) != ARCHIVE_OK) {
    return reader.Refuse();
  }
  return reader;
}

Result<std::optional<ZipEntry>> ZipReader::Next() {
  const Utf8Locale locale;
  archive_entry* header = nullptr;
  const int got = ::archive_read_next_header(archive_.get(), &header);
  if (got == ARCHIVE_EOF) {
    if (entries_ == 0)
      return Fail(ErrorCode::kInvalidArgument, "the archive is empty: put the function's files into it");
    return std::optional<ZipEntry>();
  }
  if (got != ARCHIVE_OK) return Refuse();
  if (++entries_ > limits_.entries) {
    return Fail(ErrorCode::kInvalidArgument, "the archive has more than {} files and folders", limits_.entries);
  }
  auto entry = EntryOf(header);
  if (!entry) return Forward(entry.error());
  return std::optional<ZipEntry>(*std::move(entry));
}

Result<size_t> ZipReader::Read(std::span<char> buffer) {
  const la_ssize_t got = ::archive_read_data(archive_.get(), buffer.data(), buffer.size());
  if (got < 0) return Refuse();
  unzipped_bytes_ += static_cast<uint64_t>(got);
  if (unzipped_bytes_ > limits_.unzipped_bytes) {
    return Fail(ErrorCode::kInvalidArgument, "Unzipped size must be smaller than {} bytes", limits_.unzipped_bytes);
  }
  return static_cast<size_t>(got);
}

}  // namespace snapfaas::node
