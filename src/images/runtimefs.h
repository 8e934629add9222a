// Language runtimes: a read-only root file system with an interpreter, and the kernel and initramfs that boot it.
//
//   <data>/runtimes/<name>/rootfs.erofs
//   <data>/runtimes/<name>/initramfs.cpio
//   <data>/runtimes/<name>/<script>        of the recipe's compile step, if it has one
//   <data>/runtimes/<name>/dpkg-status     the packages in it
//   <data>/runtimes/<name>/manifest.json   written last; names the kernel
//   <data>/packages/                       Debian packages that a build has fetched, for the next one; may be deleted
//
// A folder under its final name is complete: it is published by rename. docs/guest_contract.md says what is inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "images/function_packages.h"
#include "images/progress.h"

namespace snapfaas::images {

// How the sources of a function are compiled before a guest sees them, on the machine that makes the function's image:
//   <interpreter>... <script> <code format> <folder of the function> <folder for the output>
// The script puts what it makes into the output folder, at the paths that it shall have in the image. The code format
// is what image.sh left in /usr/lib/snapfaas/code-format of the root file system; where the interpreter here makes code
// of another one, or is missing, nothing is compiled and the guest does it.
struct CompileStep {
  std::vector<std::string> interpreter;
  std::string script;  // a file beside the recipe; it is kept with the built runtime and not put into guests
};

// What makes one language runtime: share/snapfaas/bootstrap/<name>/manifest.json.
struct RuntimeRecipe {
  std::string name;
  std::vector<std::string> packages;       // Debian packages beside the common ones
  std::vector<std::string> command;        // starts the bootstrap inside the guest
  std::vector<std::string> handler_files;  // a function must have one of these, relative to its folder
  std::optional<CompileStep> compile = {};
  std::vector<std::string> lambda_runtimes = {};  // AWS Lambda's names of what runs on it
  std::vector<std::string> version_command = {};  // run in the finished root file system; empty: it has no version
  uint32_t min_memory_mib = 128;                  // the smallest microVM that it works in
  // Environment variables of the bootstrap, e.g. where its language looks for packages of Debian's.
  std::map<std::string, std::string> environment = {};
  // How `snapfaas deploy` guesses the handler of a new function that nobody has named. "{file}" is a handler file
  // without its suffix, "{name}" a function that the pattern, a regular expression, has found in it.
  std::string handler_format = "{file}.{name}";
  std::string handler_pattern = "\\b{name}\\b";
};

// What OpenRuntime hands out. The files were there and well-formed when it looked.
struct RuntimeImages {
  RuntimeRecipe recipe;
  std::string kernel_release;
  std::string inputs_hash;           // names this build: a base snapshot made from other inputs does not fit
  std::filesystem::path kernel;      // bzImage
  std::filesystem::path kernel_elf;  // the same kernel as an ELF file, which no guest has to unpack
  std::filesystem::path initramfs;
  std::filesystem::path rootfs;
  std::vector<std::string> compile_command = {};  // up to the code format, for BuildAppfs; empty: no compile step
  std::string version = {};                       // of the language, as its version command says; may be empty
  PackageSource packages = {};                    // for what functions ask for
};

struct RuntimeInfo {
  std::string name;
  std::string kernel_release;
  std::string inputs_hash;
  uint64_t rootfs_bytes = 0;
  uint64_t initramfs_bytes = 0;
  int64_t built_unix_seconds = 0;
  std::string version = {};
  std::vector<std::string> lambda_runtimes = {};
  uint32_t min_memory_mib = 128;
};

// Reads the recipe of `name` from the share folder. kNotFound lists the names there are.
Result<RuntimeRecipe> LoadRecipe(const std::filesystem::path& share_dir, const std::string& name);

// All recipes of the share folder, sorted by name. One that cannot be read is left out.
std::vector<RuntimeRecipe> ListRecipes(const std::filesystem::path& share_dir);

// Builds the runtime `name`, the kernel included; does nothing when the one that is there was made from the same
// inputs. As root or, by a user namespace, without. Several runtimes may be built at a
// time; two builds of one wait for each other. Progress may come from several threads then.
Result<RuntimeImages> BuildRuntime(const std::filesystem::path& data_dir, const std::filesystem::path& share_dir,
                                   const std::string& name, const Progress& progress);

// kNotFound: not built, or its kernel is gone; kCorrupt: a file is not what it should be, or is cut short.
Result<RuntimeImages> OpenRuntime(const std::filesystem::path& data_dir, const std::string& name);

// Sorted by name; empty when nothing was built. A folder without a readable manifest is left out.
Result<std::vector<RuntimeInfo>> ListRuntimes(const std::filesystem::path& data_dir);

// kNotFound when there is none of that name.
Status RemoveRuntime(const std::filesystem::path& data_dir, const std::string& name);

}  // namespace snapfaas::images
