#include "images/kernel.h"

#include <string.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "images/files.h"
#include "images/process.h"
#include "images/vmlinux.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConcretePrefix = "linux-image-";

struct KernelPackage {
  std::string name;     // linux-image-6.1.0-56-cloud-amd64
  std::string version;  // 6.1.192-2

  std::string Release() const { return name.substr(kConcretePrefix.size()); }
  std::string FolderName() const { return Release() + "_" + version; }
};

const char* MetaPackage(KernelFlavor flavor) {
  return flavor == KernelFlavor::kGuest ? "linux-image-cloud-amd64" : "linux-image-amd64";
}

bool IsOfFlavor(std::string_view release, KernelFlavor flavor) {
  const bool cloud = release.ends_with("-cloud-amd64");
  return release.ends_with("-amd64") && cloud == (flavor == KernelFlavor::kGuest);
}

fs::path KernelsFolder(const fs::path& data_dir) { return data_dir / "kernels"; }

KernelFiles FilesIn(const fs::path& dir, const std::string& release, const std::string& version) {
  return {.release = release,
          .package_version = version,
          .dir = dir,
          .vmlinuz = dir / "vmlinuz",
          .vmlinux = dir / "vmlinux",
          .modules_dir = dir / "lib" / "modules" / release};
}

std::optional<KernelFiles> FilesOfFolder(const fs::path& dir) {
  const std::string name = dir.filename().string();
  const size_t separator = name.find('_');
  std::error_code error;
  if (separator == std::string::npos || !fs::exists(dir / "vmlinux", error)) return std::nullopt;
  return FilesIn(dir, name.substr(0, separator), name.substr(separator + 1));
}

// "Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)" in the newest paragraph that apt-cache shows.
Result<KernelPackage> AskApt(KernelFlavor flavor) {
  auto shown =
      RunProgram({"apt-cache", "--no-all-versions", "show", MetaPackage(flavor)}, {.environment = {{"LC_ALL", "C"}}});
  if (!shown) return Forward(shown.error());
  constexpr std::string_view kField = "\nDepends: ";
  const size_t field = shown->find(kField);
  if (field != std::string::npos) {
    const size_t start = field + kField.size();
    std::string_view depends = std::string_view(*shown).substr(start, shown->find('\n', start) - start);
    const size_t equals = depends.find(" (= ");
    const size_t close = depends.find(')', equals);
    if (depends.starts_with(kConcretePrefix) && equals != std::string_view::npos && close != std::string_view::npos) {
      return KernelPackage{std::string(depends.substr(0, equals)),
                           std::string(depends.substr(equals + 4, close - equals - 4))};
    }
  }
  return Fail(ErrorCode::kUnavailable, "apt's lists do not say which kernel {} is; 'apt-get update' as root mends it",
              MetaPackage(flavor));
}

Result<fs::path> FindDownloaded(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".deb") return entry.path();
  }
  return Fail(ErrorCode::kNotFound, "apt-get download has left no package in {}", folder.string());
}

Status MoveInto(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  fs::rename(from, to, error);
  if (error) return FailErrno(error.value(), "cannot move {} to {}", from.string(), to.string());
  return {};
}

Status Download(const fs::path& folder, const KernelPackage& package) {
  auto got = RunProgram({"apt-get", "download", package.name + "=" + package.version}, {.folder = folder.string()});
  if (!got) {
    return Forward(got.error(),
                   "cannot download the kernel; if apt's lists are old, 'apt-get update' as root mends it");
  }
  return {};
}

// Unpacks the package of `folder` there and leaves what KernelFiles promises.
Status Unpack(const fs::path& folder, const std::string& release) {
  auto package = FindDownloaded(folder);
  if (!package) return Forward(package.error());
  const fs::path tree = folder / "tree";
  auto unpacked = RunProgram({"dpkg-deb", "-x", package->string(), tree.string()});
  if (!unpacked) return Forward(unpacked.error());
  // Debian 12 ships /lib and /usr as one; a later package may use the longer path.
  std::error_code error;
  const fs::path lib = fs::exists(tree / "lib" / "modules", error) ? tree / "lib" : tree / "usr" / "lib";
  if (auto moved = MoveInto(tree / "boot" / ("vmlinuz-" + release), folder / "vmlinuz"); !moved) return moved;
  if (auto moved = MoveInto(lib / "modules", folder / "lib" / "modules"); !moved) return moved;
  fs::remove_all(tree, error);
  fs::remove(*package, error);
  // The package's installation script would do this.
  auto depmod = RunProgram({"depmod", "-b", folder.string(), release});
  if (!depmod) return Forward(depmod.error());
  return {};
}

Status WriteVmlinux(const fs::path& folder) {
  auto bzimage = ReadWholeFile(folder / "vmlinuz");
  if (!bzimage) return Forward(bzimage.error());
  auto vmlinux = ExtractVmlinux(*bzimage);
  if (!vmlinux) return Forward(vmlinux.error());
  return WriteWholeFile(folder / "vmlinux", *vmlinux);
}

// "6.1.0-9-amd64" before "6.1.0-56-amd64".
bool VersionLess(std::string_view a, std::string_view b) {
  return ::strverscmp(std::string(a).c_str(), std::string(b).c_str()) < 0;
}

}  // namespace

Result<KernelFiles> FindKernel(const fs::path& data_dir, KernelFlavor flavor) {
  std::optional<KernelFiles> newest;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(KernelsFolder(data_dir), error)) {
    auto files = FilesOfFolder(entry.path());
    if (!files || !IsOfFlavor(files->release, flavor)) continue;
    if (!newest || VersionLess(newest->dir.filename().string(), files->dir.filename().string()))
      newest = std::move(files);
  }
  if (newest) return *std::move(newest);
  return Fail(ErrorCode::kNotFound, "no {} in {}", MetaPackage(flavor), KernelsFolder(data_dir).string());
}

Result<KernelFiles> FetchKernel(const fs::path& data_dir, KernelFlavor flavor, const Progress& progress) {
  auto package = AskApt(flavor);
  if (!package) {
    auto earlier = FindKernel(data_dir, flavor);
    if (earlier) return earlier;
    return Forward(package.error());
  }
  const fs::path kernels = KernelsFolder(data_dir);
  const fs::path final_dir = kernels / package->FolderName();
  auto lock = FolderLock::Acquire(kernels);
  if (!lock) return Forward(lock.error());
  std::error_code error;
  const KernelFiles files = FilesIn(final_dir, package->Release(), package->version);
  if (fs::exists(files.vmlinux, error)) return files;

  if (progress) progress(fmt::format("kernel: downloading {} {}", package->name, package->version));
  auto folder = TemporaryFolder::Create(kernels);
  if (!folder) return Forward(folder.error());
  if (auto got = Download(folder->path(), *package); !got) return Forward(got.error());
  if (progress) progress("kernel: unpacking");
  if (auto unpacked = Unpack(folder->path(), package->Release()); !unpacked) return Forward(unpacked.error());
  if (auto written = WriteVmlinux(folder->path()); !written) return Forward(written.error());
  if (auto published = folder->Publish(final_dir); !published) return Forward(published.error());
  return files;
}

}  // namespace snapfaas::images
