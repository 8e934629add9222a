// Appfs: the read-only file system of one function, made from a folder; mounted at /var/task (also /srv) in the guest.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "images/function_packages.h"
#include "images/runtimefs.h"

namespace snapfaas::images {

// kNotFound: no such folder; kInvalidArgument: not a folder, or none of the recipe's handler files is in it.
Status CheckAppFolder(const std::filesystem::path& app_dir, const RuntimeRecipe& recipe);

enum class HandlerCheck {
  kRequired,  // as CheckAppFolder
  kNone,      // the function names its handler itself
};

// Makes the erofs image `image` from `app_dir`, in place of any older one, by temporary and rename. The same folder
// gives the same bytes, but for the versions of Debian packages, which are put at package/ where the function asks for
// some (function_packages.h); files of its own come first. `compile_command` is that of RuntimeImages: what it makes of
// the sources is in the image too; where it fails, the image is as without it, and the function only slower to load.
// Errors as CheckAppFolder, and kInvalidArgument: the image is larger than what a guest has for it
// (wire::kAppfsDeviceBytes).
Status BuildAppfs(const std::filesystem::path& app_dir, const RuntimeRecipe& recipe,
                  const std::vector<std::string>& compile_command, const std::filesystem::path& image,
                  HandlerCheck check = HandlerCheck::kRequired, const PackageSource& packages = {});

}  // namespace snapfaas::images
