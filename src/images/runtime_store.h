// The runtimes on disk: names of their files, and their manifest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "images/kernel.h"
#include "images/runtimefs.h"

namespace snapfaas::images {

inline constexpr char kRootfsFile[] = "rootfs.erofs";
inline constexpr char kInitramfsFile[] = "initramfs.cpio";
inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kPackagesFile[] = "dpkg-status";

std::filesystem::path RuntimesFolder(const std::filesystem::path& data_dir);
// Debian packages, as builds and functions have fetched them.
std::filesystem::path PackagesFolder(const std::filesystem::path& data_dir);
// Where one runtime is built and removed, and what is locked meanwhile.
std::filesystem::path BuildFolder(const std::filesystem::path& data_dir, const std::string& name);

// What a build has found out.
struct BuildFindings {
  std::string inputs_hash;
  std::string code_format;  // of the recipe's compile step; empty: the recipe has none
  std::string version;      // the first line of the recipe's version command; empty: the recipe has none
  int64_t built_unix_seconds = 0;
};

// Describes the other files of `folder`, their sizes included.
Status WriteManifest(const std::filesystem::path& folder, const RuntimeRecipe& recipe, const KernelFiles& kernel,
                     const BuildFindings& findings);

}  // namespace snapfaas::images
