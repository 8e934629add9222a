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

std::filesystem::path RuntimesFolder(const std::filesystem::path& data_dir);

// Describes the other files of `folder`, their sizes included. `code_format` is of the recipe's compile step; empty:
// the recipe has none.
Status WriteManifest(const std::filesystem::path& folder, const RuntimeRecipe& recipe, const KernelFiles& kernel,
                     const std::string& inputs_hash, const std::string& code_format, int64_t built_unix_seconds);

}  // namespace snapfaas::images
