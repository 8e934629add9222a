#include "images/function_packages.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <system_error>

#include "images/files.h"
#include "images/process.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListBytes = size_t{64} << 10;
// Debian's folder for shared libraries, below /usr/lib.
constexpr char kLibraries[] = "usr/lib/x86_64-linux-gnu";

bool IsOneOf(char c, std::string_view more) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || more.find(c) != std::string_view::npos;
}

// "name" or "name=version", as Debian's policy has them (5.6.1, 5.6.12): nothing that apt could take for an option.
bool IsPackage(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const std::string_view version = equals == std::string_view::npos ? "0" : text.substr(equals + 1);
  const auto in_name = [](char c) { return IsOneOf(c, "+-."); };
  const auto in_version = [](char c) { return IsOneOf(c, "+-.~:ABCDEFGHIJKLMNOPQRSTUVWXYZ"); };
  return name.size() >= 2 && IsOneOf(name.front(), "") && std::all_of(name.begin(), name.end(), in_name) &&
         !version.empty() && std::all_of(version.begin(), version.end(), in_version);
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

template <typename Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    visit(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
}

// Apt with the runtime's packages in place of this machine's, for whoever runs it.
std::vector<std::string> AptCommand(const PackageSource& source, std::string_view mode,
                                    const std::vector<std::string>& packages) {
  std::vector<std::string> command = {"apt-get", "-q", "-y", std::string(mode), "--no-install-recommends"};
  for (const std::string& option :
       {std::string("APT::Sandbox::User=root"), std::string("Debug::NoLocking=1"), std::string("Dir::Cache::pkgcache="),
        std::string("Dir::Cache::srcpkgcache="), std::string("Dir::State::extended_states=/dev/null"),
        "Dir::State::status=" + source.status.string(), "Dir::Cache::archives=" + source.folder.string()}) {
    command.insert(command.end(), {"-o", option});
  }
  command.emplace_back("install");
  command.insert(command.end(), packages.begin(), packages.end());
  return command;
}

Error Unfetched(const Error& error, const std::vector<std::string>& packages) {
  return {ErrorCode::kUnavailable, 0,
          fmt::format("the Debian packages of {} ({}) cannot be fetched; this machine needs a network and Debian 12's "
                      "package lists ('apt-get update'): {}",
                      kPackageListFile, fmt::join(packages, " "), error.Message())};
}

void MoveInto(const fs::path& from, const fs::path& to, std::error_code& error) {
  if (error || !fs::is_directory(fs::symlink_status(from, error))) {
    error.clear();
    return;
  }
  fs::create_directories(to, error);
  if (!error)
    fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks | fs::copy_options::skip_existing,
             error);
  if (!error) fs::remove_all(from, error);
}

// What Debian's alternatives system would do: libraries in a folder of their own are found by their names.
Status LinkLibraries(const fs::path& libraries) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& folder : fs::directory_iterator(libraries, error)) {
    if (!folder.is_directory(error) || folder.is_symlink(error)) continue;
    for (const auto& file : fs::directory_iterator(folder.path(), error)) {
      const std::string name = file.path().filename().string();
      if (name.starts_with("lib") && name.find(".so") != std::string::npos) found.push_back(file.path());
    }
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& file : found) {
    const fs::path link = libraries / file.filename();
    if (fs::exists(fs::symlink_status(link, error))) continue;
    fs::create_symlink(file.lexically_relative(libraries), link, error);
    if (error) return FailErrno(error.value(), "cannot link {}", link.string());
  }
  return {};
}

Status Unpack(const fs::path& deb, const fs::path& tree) {
  auto unpacked = RunProgram({"dpkg-deb", "--extract", deb.string(), tree.string()});
  if (!unpacked) return Forward(unpacked.error(), deb.filename().string());
  return {};
}

}  // namespace

Result<std::vector<std::string>> ParsePackageList(std::string_view text) {
  std::vector<std::string> packages;
  size_t number = 0;
  std::optional<size_t> wrong;
  ForEachLine(text, [&](std::string_view line) {
    ++number;
    const std::string_view package = Trimmed(line.substr(0, line.find('#')));
    if (package.empty()) return;
    if (!IsPackage(package) && !wrong) wrong = number;
    packages.emplace_back(package);
  });
  if (wrong) {
    return Fail(ErrorCode::kInvalidArgument, "{}, line {}: no name of a Debian package", kPackageListFile, *wrong);
  }
  std::sort(packages.begin(), packages.end());
  packages.erase(std::unique(packages.begin(), packages.end()), packages.end());
  return packages;
}

std::vector<std::string> ParseSimulation(std::string_view output) {
  // "Inst libblas3 (3.11.0-2 Debian:12.5/stable [amd64])"; of an upgrade "[old version]" comes before the parenthesis.
  std::vector<std::string> files;
  ForEachLine(output, [&](std::string_view line) {
    constexpr std::string_view kInst = "Inst ";
    const size_t open = line.find('(');
    const size_t close = line.rfind(')');
    if (!line.starts_with(kInst) || open == std::string_view::npos || close == std::string_view::npos || close < open) {
      return;
    }
    line.remove_prefix(kInst.size());
    const std::string_view name = line.substr(0, line.find_first_of(" :"));
    const std::string_view inside = line.substr(open + 1 - kInst.size(), close - open - 1);
    const size_t architecture = inside.rfind('[');
    if (architecture == std::string_view::npos || !inside.ends_with(']')) return;
    std::string version(inside.substr(0, inside.find(' ')));
    for (size_t at = version.find(':'); at != std::string::npos; at = version.find(':')) version.replace(at, 1, "%3a");
    files.push_back(
        fmt::format("{}_{}_{}.deb", name, version, inside.substr(architecture + 1, inside.size() - architecture - 2)));
  });
  return files;
}

Status SettlePackageTree(const fs::path& tree) {
  std::error_code error;
  for (const char* folder : {"bin", "sbin", "lib", "lib64"}) MoveInto(tree / folder, tree / "usr" / folder, error);
  if (error) return FailErrno(error.value(), "cannot arrange {}", tree.string());
  for (const char* folder : {"doc", "man", "info", "lintian", "bug", "locale", "menu", "pixmaps", "applications"}) {
    fs::remove_all(tree / "usr/share" / folder, error);
  }
  if (!fs::is_directory(tree / kLibraries, error)) return {};
  return LinkLibraries(tree / kLibraries);
}

fs::path PackageTree(const PackageSource& source, const std::vector<std::string>& packages, std::string_view status) {
  const std::string all = fmt::format("1\n{}\n{}", fmt::join(packages, "\n"), status);
  const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
  return source.folder / "trees" / fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Result<std::optional<fs::path>> FetchFunctionPackages(const fs::path& app_dir, const PackageSource& source,
                                                      const Progress& progress) {
  std::error_code error;
  const fs::path list = app_dir / kPackageListFile;
  if (source.folder.empty() || !fs::is_regular_file(list, error)) return std::optional<fs::path>();
  if (fs::file_size(list, error) > kMaxListBytes) {
    return Fail(ErrorCode::kInvalidArgument, "{} is larger than {} bytes", list.string(), kMaxListBytes);
  }
  auto text = ReadWholeFile(list);
  if (!text) return Forward(text.error());
  auto packages = ParsePackageList(*text);
  if (!packages) return Forward(packages.error());
  if (packages->empty()) return std::optional<fs::path>();
  auto status = ReadWholeFile(source.status);
  if (!status) return Forward(status.error(), "the runtime does not say what is in it: build it again");
  const fs::path tree = PackageTree(source, *packages, *status);
  if (fs::is_directory(tree, error)) return std::optional(tree);

  if (progress) progress(fmt::format("fetching Debian packages: {}", fmt::join(*packages, " ")));
  if (auto made = MakeFolders(source.folder / "partial"); !made) return Forward(made.error());
  auto simulated = RunProgram(AptCommand(source, "--simulate", *packages));
  if (!simulated) return tl::unexpected(Unfetched(simulated.error(), *packages));
  auto fetched = RunProgram(AptCommand(source, "--download-only", *packages));
  if (!fetched) return tl::unexpected(Unfetched(fetched.error(), *packages));
  auto folder = TemporaryFolder::Create(tree.parent_path());
  if (!folder) return Forward(folder.error());
  for (const std::string& file : ParseSimulation(*simulated)) {
    if (auto unpacked = Unpack(source.folder / file, folder->path()); !unpacked) return Forward(unpacked.error());
  }
  if (auto settled = SettlePackageTree(folder->path()); !settled) return Forward(settled.error());
  if (auto published = folder->Publish(tree); !published) return Forward(published.error());
  return std::optional(tree);
}

}  // namespace snapfaas::images
