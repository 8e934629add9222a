// Appfs: the read-only file system of one function, made from a folder; mounted at /srv in the guest.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "images/runtimefs.h"

namespace snapfaas::images {

// kNotFound: no such folder; kInvalidArgument: not a folder, or none of the recipe's handler files is in it.
Status CheckAppFolder(const std::filesystem::path& app_dir, const RuntimeRecipe& recipe);

// Makes the erofs image `image` from `app_dir`, in place of any older one, by temporary and rename. The same folder
// gives the same bytes. Errors as CheckAppFolder.
Status BuildAppfs(const std::filesystem::path& app_dir, const RuntimeRecipe& recipe,
                  const std::filesystem::path& image);

}  // namespace snapfaas::images
