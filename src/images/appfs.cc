#include "images/appfs.h"

#include <fmt/format.h>

#include <algorithm>

#include "images/erofs.h"
#include "images/files.h"
#include "images/process.h"

namespace snapfaas::images {

namespace fs = std::filesystem;

Status CheckAppFolder(const fs::path& app_dir, const RuntimeRecipe& recipe) {
  std::error_code error;
  const fs::file_status status = fs::status(app_dir, error);
  if (!fs::exists(status)) return Fail(ErrorCode::kNotFound, "there is no function folder {}", app_dir.string());
  if (!fs::is_directory(status)) {
    return Fail(ErrorCode::kInvalidArgument, "{} is not a folder; a function is a folder with its handler in it",
                app_dir.string());
  }
  const auto is_there = [&](const std::string& file) { return fs::is_regular_file(app_dir / file, error); };
  if (std::any_of(recipe.handler_files.begin(), recipe.handler_files.end(), is_there)) return {};
  return Fail(ErrorCode::kInvalidArgument, "the function folder {} has no handler: runtime {} looks for {}",
              app_dir.string(), recipe.name, fmt::join(recipe.handler_files, ", "));
}

Status BuildAppfs(const fs::path& app_dir, const RuntimeRecipe& recipe, const fs::path& image) {
  if (auto checked = CheckAppFolder(app_dir, recipe); !checked) return checked;
  const fs::path parent = image.has_parent_path() ? image.parent_path() : fs::path(".");
  auto folder = TemporaryFolder::Create(parent);
  if (!folder) return Forward(folder.error());
  const fs::path made = folder->path() / "appfs.erofs";
  std::vector<std::string> command = {"mkfs.erofs"};
  for (std::string& option : MkfsErofsOptions()) command.push_back(std::move(option));
  // What an interpreter of the build machine has left there is not the function's, and differs from run to run.
  command.push_back("--exclude-regex=(^|/)__pycache__(/|$)");
  command.push_back(made.string());
  command.push_back(app_dir.string());
  auto ran = RunProgram(command);
  if (!ran) return Forward(ran.error(), fmt::format("cannot make an image of {}", app_dir.string()));
  std::error_code error;
  fs::rename(made, image, error);
  if (error) return FailErrno(error.value(), "cannot write {}", image.string());
  return {};
}

}  // namespace snapfaas::images
