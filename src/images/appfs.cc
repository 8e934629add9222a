#include "images/appfs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "images/erofs.h"
#include "images/files.h"
#include "images/process.h"
#include "wire/guest_abi.h"

namespace snapfaas::images {

namespace fs = std::filesystem;

namespace {

// What an interpreter of the build machine has left there is not the function's, and differs from run to run.
constexpr char kLeftover[] = "__pycache__";

// True: there is compiled code in `output`.
bool Compile(std::vector<std::string> command, const fs::path& app_dir, const fs::path& output) {
  std::error_code error;
  if (command.empty() || !fs::create_directory(output, error)) return false;
  command.insert(command.end(), {app_dir.string(), output.string()});
  return RunProgram(command) && !fs::is_empty(output, error) && !error;
}

Status CopyEntry(const fs::directory_entry& from, const fs::path& to) {
  std::error_code error;
  if (from.is_symlink(error)) {
    fs::copy_symlink(from.path(), to, error);
  } else if (from.is_directory(error)) {
    // It may be there already, with compiled code in it. We must be able to write to it, and to remove it again.
    fs::create_directory(to, error);
    if (!error) fs::permissions(to, from.status(error).permissions() | fs::perms::owner_all, error);
  } else if (from.is_regular_file(error)) {
    fs::copy_file(from.path(), to, error);
  }
  if (error) return FailErrno(error.value(), "cannot copy {}", from.path().string());
  return {};
}

// Puts the function's own files beside the compiled code, which is at paths that they do not have.
Status CopyFunction(const fs::path& app_dir, const fs::path& stage) {
  if (auto copied = CopyEntry(fs::directory_entry(app_dir / "."), stage); !copied) return copied;
  std::error_code error;
  fs::recursive_directory_iterator entry(app_dir, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    if (entry->path().filename() == kLeftover) {
      entry.disable_recursion_pending();
    } else if (auto copied = CopyEntry(*entry, stage / entry->path().lexically_relative(app_dir)); !copied) {
      return copied;
    }
    entry.increment(error);
  }
  if (error) return FailErrno(error.value(), "cannot read the folder {}", app_dir.string());
  return {};
}

// Puts a tree of Debian packages under the function's own files, at package/.
Status AddPackages(const fs::path& tree, const fs::path& stage) {
  std::error_code error;
  const fs::path root = stage / "package";
  fs::create_directories(root, error);
  fs::recursive_directory_iterator entry(tree, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    const fs::path to = root / entry->path().lexically_relative(tree);
    const auto there = fs::symlink_status(to, error);
    error.clear();
    if (!fs::exists(there) || (entry->is_directory(error) && !entry->is_symlink(error) && fs::is_directory(there))) {
      if (auto copied = CopyEntry(*entry, to); !copied) return copied;
    } else if (entry->is_directory(error)) {
      entry.disable_recursion_pending();
    }
    entry.increment(error);
  }
  if (error) return FailErrno(error.value(), "cannot read the folder {}", tree.string());
  return {};
}

// The function's files and its packages; what is compiled of them lies among them.
Status StageWithPackages(const fs::path& app_dir, const fs::path& tree, std::vector<std::string> compile_command,
                         const fs::path& stage) {
  if (auto made = MakeFolders(stage); !made) return made;
  auto staged = CopyFunction(app_dir, stage);
  if (staged) staged = AddPackages(tree, stage);
  if (!staged || compile_command.empty()) return staged;
  compile_command.insert(compile_command.end(), {stage.string(), stage.string()});
  // Without it the guest compiles.
  [[maybe_unused]] const auto compiled = RunProgram(compile_command);
  return {};
}

}  // namespace

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

Status BuildAppfs(const fs::path& app_dir, const RuntimeRecipe& recipe, const std::vector<std::string>& compile_command,
                  const fs::path& image, HandlerCheck check, const PackageSource& packages) {
  if (check == HandlerCheck::kRequired) {
    if (auto checked = CheckAppFolder(app_dir, recipe); !checked) return checked;
  }
  auto tree = FetchFunctionPackages(app_dir, packages, {});
  if (!tree) return Forward(tree.error());
  const fs::path parent = image.has_parent_path() ? image.parent_path() : fs::path(".");
  auto folder = TemporaryFolder::Create(parent);
  if (!folder) return Forward(folder.error());
  const fs::path made = folder->path() / "appfs.erofs";
  const fs::path stage = folder->path() / "stage";
  std::vector<std::string> command = {"mkfs.erofs"};
  for (std::string& option : MkfsErofsOptions()) command.push_back(std::move(option));
  if (*tree) {
    if (auto staged = StageWithPackages(app_dir, **tree, compile_command, stage); !staged) return staged;
    command.insert(command.end(), {made.string(), stage.string()});
  } else if (Compile(compile_command, app_dir, stage)) {
    if (auto copied = CopyFunction(app_dir, stage); !copied) return copied;
    command.insert(command.end(), {made.string(), stage.string()});
  } else {
    command.push_back(fmt::format("--exclude-regex=(^|/){}(/|$)", kLeftover));
    command.insert(command.end(), {made.string(), app_dir.string()});
  }
  auto ran = RunProgram(command);
  if (!ran) return Forward(ran.error(), fmt::format("cannot make an image of {}", app_dir.string()));
  std::error_code error;
  const uint64_t bytes = fs::file_size(made, error);
  if (!error && bytes > wire::kAppfsDeviceBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the function in {} makes an image of {} MiB; {} MiB is the most",
                app_dir.string(), (bytes + 1_MiB - 1) / 1_MiB, wire::kAppfsDeviceBytes / 1_MiB);
  }
  fs::rename(made, image, error);
  if (error) return FailErrno(error.value(), "cannot write {}", image.string());
  return {};
}

}  // namespace snapfaas::images
