// BuildRuntime: from a recipe to the three files of a runtime.

#include <unistd.h>
#include <xxhash.h>

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>

#include "images/erofs.h"
#include "images/files.h"
#include "images/initramfs.h"
#include "images/kernel.h"
#include "images/process.h"
#include "images/recipe.h"
#include "images/runtime_store.h"
#include "images/runtimefs.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;

constexpr char kSuite[] = "bookworm";
constexpr char kCodeFormatFile[] = "code-format";
constexpr char kVersionFile[] = "version";

// What the initramfs loads before the root file system is there.
const std::vector<std::string>& Modules() {
  static const std::vector<std::string> modules = {"virtio_mmio", "virtio_pmem",    "nd_pmem",
                                                   "erofs",       "virtio_console", "virtio-rng"};
  return modules;
}

// Beside Debian's essential packages and the recipe's own.
const std::vector<std::string>& CommonPackages() {
  static const std::vector<std::string> packages = {"openrc", "procps"};
  return packages;
}

// Left out of the image: what the kernel mounts, and what package managers keep. The same reason holds for both: it is
// of no use inside a read-only image, and differs from build to build.
constexpr char kExcluded[] =
    "^(dev|proc|run|sys|tmp|etc/apt|var/lib/apt|var/lib/dpkg|var/cache|var/log|var/lib/systemd)/";

// What is found in a function's folder: shared libraries and programs of its own, and of Debian packages. The dynamic
// linker remembers a folder that it has not found: rootfs/customize.sh makes them.
constexpr const char* kFunctionPaths[] = {
    "LD_LIBRARY_PATH=/var/task/lib:/var/task/package/usr/lib/x86_64-linux-gnu",
    "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/var/task/bin:/var/task/package/usr/bin",
};

// ---- what a build depends on -------------------------------------------------------------------------------------

class InputsHash {
 public:
  void Add(std::string_view bytes) {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    text_ += fmt::format("{:016x}{:016x}\n", hash.high64, hash.low64);
  }

  Status AddFolder(const fs::path& folder) {
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
      if (entry.is_regular_file(error)) files.push_back(entry.path());
    }
    if (error) return FailErrno(error.value(), "cannot read the folder {}", folder.string());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      if (auto added = AddFile(file); !added) return added;
    }
    return {};
  }

  Status AddFile(const fs::path& file) {
    auto content = ReadWholeFile(file);
    if (!content) return Forward(content.error());
    Add(file.filename().string());
    Add(*content);
    return {};
  }

  std::string Finish() const {
    const XXH128_hash_t hash = XXH3_128bits(text_.data(), text_.size());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::string text_;
};

Result<std::string> HashInputs(const fs::path& share_dir, const RuntimeRecipe& recipe, const KernelFiles& kernel) {
  InputsHash hash;
  hash.Add(RecipeToJson(recipe).dump());
  hash.Add(kernel.dir.filename().string());
  hash.Add(kSuite);
  hash.Add(kExcluded);
  for (const char* variable : kFunctionPaths) hash.Add(variable);
  for (const auto* list : {&Modules(), &CommonPackages()}) hash.Add(fmt::format("{}", fmt::join(*list, " ")));
  for (const char* file : {"snapfaas-init", "snapfaas-agent"}) {
    if (auto added = hash.AddFile(share_dir / file); !added) return Forward(added.error());
  }
  for (const fs::path& folder : {fs::path("bootstrap") / recipe.name, fs::path("openrc"), fs::path("rootfs")}) {
    if (auto added = hash.AddFolder(share_dir / folder); !added) return Forward(added.error());
  }
  return hash.Finish();
}

// ---- the root file system ----------------------------------------------------------------------------------------

Status InstallFile(const fs::path& from, const fs::path& to, fs::perms permissions) {
  if (auto made = MakeFolders(to.parent_path()); !made) return made;
  std::error_code error;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) return FailErrno(error.value(), "cannot copy {} to {}", from.string(), to.string());
  fs::permissions(to, permissions, error);
  return {};
}

// Our own files, laid out as in the guest.
Status StageFiles(const fs::path& share_dir, const RuntimeRecipe& recipe, const fs::path& stage) {
  constexpr auto kProgram = static_cast<fs::perms>(0755);
  constexpr auto kText = static_cast<fs::perms>(0644);
  const fs::path library = stage / "usr" / "lib" / "snapfaas";
  if (auto put = InstallFile(share_dir / "snapfaas-agent", library / "agent", kProgram); !put) return put;
  for (const auto& [source, target] : {std::pair{share_dir / "bootstrap" / recipe.name, library},
                                       std::pair{share_dir / "openrc", library / "openrc"}}) {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(source, error)) {
      const fs::path name = entry.path().lexically_relative(source);
      const bool on_host = name == "manifest.json" || (recipe.compile && name == recipe.compile->script);
      if (!entry.is_regular_file(error) || on_host) continue;
      if (auto put = InstallFile(entry.path(), target / name, kText); !put) return put;
    }
    if (error) return FailErrno(error.value(), "cannot read the folder {}", source.string());
  }
  const fs::path command = stage / "etc" / "snapfaas" / "bootstrap";
  if (auto made = MakeFolders(command.parent_path()); !made) return made;
  std::string lines = "/usr/bin/env\n";
  for (const char* variable : kFunctionPaths) lines += fmt::format("{}\n", variable);
  for (const auto& [name, value] : recipe.environment) lines += fmt::format("{}={}\n", name, value);
  return WriteWholeFile(command, fmt::format("{}{}\n", lines, fmt::join(recipe.command, "\n")));
}

std::string ShellQuote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

// A hook of mmdebstrap that makes the image inside the new root; mmdebstrap's own "download" then brings it out, which
// works from a user namespace too, whose root may not write to our folders.
std::string MkfsHook() {
  std::string hook = "mkfs.erofs -d1";
  for (const std::string& option : MkfsErofsOptions()) hook += " " + option;
  hook += " --exclude-path=rootfs.erofs " + ShellQuote(std::string("--exclude-regex=") + kExcluded);
  return hook + R"( "$1/rootfs.erofs" "$1" >/dev/null)";
}

// Passes on what mmdebstrap says about its phases, a line each, without its prefix.
void ReportPhase(const Progress& progress, const std::string& name, std::string_view line) {
  constexpr std::string_view kInfo = "I: ";
  if (!progress || !line.starts_with(kInfo)) return;
  line.remove_prefix(kInfo.size());
  for (const std::string_view phase : {"running apt-get update", "downloading packages", "extracting archives",
                                       "installing essential packages", "installing remaining packages"}) {
    if (line.starts_with(phase)) progress(fmt::format("runtime {}: {}", name, phase));
  }
  if (line.starts_with("running --customize-hook in shell: sh -c 'mkfs.erofs")) {
    progress(fmt::format("runtime {}: making the image", name));
  }
}

// Hooks that leave what the recipe's version command says in `file`. They come after the image was made: whatever the
// interpreter writes meanwhile is not in it.
std::vector<std::string> VersionHooks(const RuntimeRecipe& recipe, const fs::path& file) {
  std::string command;
  for (const std::string& word : recipe.version_command) command += " " + ShellQuote(word);
  // Some write it to standard error.
  return {"--customize-hook=chroot \"$1\"" + command + " >\"$1/snapfaas-version\" 2>&1 </dev/null || " +
              "{ cat \"$1/snapfaas-version\"; echo the version command failed; exit 1; }",
          "--customize-hook=download /snapfaas-version " + ShellQuote(file.string())};
}

// Hooks that take packages from the folder `cache` and put new ones there: what all runtimes have in common is fetched
// once. Apt checks every one of them whoever brought it. Linked where the file systems allow it, and given its name
// when it is whole, as other builds may look.
std::vector<std::string> PackageCacheHooks(const fs::path& cache) {
  const std::string quoted = ShellQuote(cache.string());
  const std::string take = "--setup-hook=to=\"$1/var/cache/apt/archives\"; mkdir -p \"$to\"; for deb in " + quoted +
                           "/*.deb; do [ ! -e \"$deb\" ] || ln \"$deb\" \"$to\" 2>/dev/null || " +
                           "cp \"$deb\" \"$to\"; done";
  const std::string keep = "--customize-hook=for deb in \"$1\"/var/cache/apt/archives/*.deb; do to=" + quoted +
                           "/${deb##*/}; [ -e \"$to\" ] || ln \"$deb\" \"$to\" 2>/dev/null || " +
                           "{ cp \"$deb\" \"$to.$$\" && mv \"$to.$$\" \"$to\"; }; done";
  return {"--skip=essential/unlink", take, keep};
}

// Leaves the image in `folder` and, where the recipe has such steps, the files kCodeFormatFile and kVersionFile.
Status BuildRootfs(const fs::path& share_dir, const fs::path& data_dir, const RuntimeRecipe& recipe,
                   const fs::path& folder, const Progress& progress) {
  const fs::path stage = folder / "stage";
  if (auto staged = StageFiles(share_dir, recipe, stage); !staged) return staged;
  auto customize = ReadWholeFile(share_dir / "rootfs" / "customize.sh");
  if (!customize) return Forward(customize.error());

  std::vector<std::string> packages = CommonPackages();
  packages.insert(packages.end(), recipe.packages.begin(), recipe.packages.end());
  const fs::path image = folder / "rootfs.erofs";
  const ProgramOptions options = {
      // Debian's signature on the suite is checked; the time only goes into files, and must be the same always.
      .environment = {{"SOURCE_DATE_EPOCH", "1"}, {"LC_ALL", "C.UTF-8"}},
      .on_line = [&](std::string_view line) { ReportPhase(progress, recipe.name, line); },
  };
  const bool is_root = ::geteuid() == 0;
  std::vector<std::string> command = {"mmdebstrap", is_root ? "--mode=root" : "--mode=unshare", "--variant=essential",
                                      fmt::format("--include={}", fmt::join(packages, ",")), "--format=null"};
  if (is_root) {
    // The root of a user namespace may not be able to read our folders.
    const fs::path cache = PackagesFolder(data_dir);
    if (auto made = MakeFolders(cache); !made) return made;
    for (std::string& option : PackageCacheHooks(cache)) command.push_back(std::move(option));
  }
  for (std::string hook :
       {"--customize-hook=sync-in " + ShellQuote(stage.string()) + " /",
        // The script's text, not its path: the user namespace may not be able to read our folders.
        "--customize-hook=" + *customize, "--customize-hook=" + MkfsHook(),
        "--customize-hook=download /rootfs.erofs " + ShellQuote(image.string()),
        "--customize-hook=download /var/lib/dpkg/status " + ShellQuote((folder / kPackagesFile).string())}) {
    command.push_back(std::move(hook));
  }
  if (recipe.compile) {
    const fs::path code_format = folder / kCodeFormatFile;
    command.push_back("--customize-hook=download /usr/lib/snapfaas/code-format " + ShellQuote(code_format.string()));
  }
  if (!recipe.version_command.empty()) {
    for (std::string& hook : VersionHooks(recipe, folder / kVersionFile)) command.push_back(std::move(hook));
  }
  command.insert(command.end(), {kSuite, "/dev/null"});
  auto ran = RunProgram(command, options);
  if (!ran) return Forward(ran.error(), fmt::format("cannot build the root file system of runtime {}", recipe.name));
  std::error_code error;
  fs::remove_all(stage, error);
  return CheckErofsImage(image);
}

// ---- all of it ---------------------------------------------------------------------------------------------------

// The content of a file that is not to stay.
Result<std::string> TakeFile(const fs::path& file) {
  auto content = ReadWholeFile(file);
  std::error_code ignored;
  fs::remove(file, ignored);
  return content;
}

// Keeps the compile step's script with the runtime. Returns the code format, which moves into the manifest.
Result<std::string> KeepCompileStep(const fs::path& folder, const fs::path& share_dir, const RuntimeRecipe& recipe) {
  if (!recipe.compile) return std::string();
  const std::string& script = recipe.compile->script;
  auto put = InstallFile(share_dir / "bootstrap" / recipe.name / script, folder / script, static_cast<fs::perms>(0644));
  if (!put) return Forward(put.error());
  return TakeFile(folder / kCodeFormatFile);
}

// The first line; empty where the recipe has no version command.
Result<std::string> TakeVersion(const fs::path& folder, const RuntimeRecipe& recipe) {
  if (recipe.version_command.empty()) return std::string();
  auto text = TakeFile(folder / kVersionFile);
  if (!text) return text;
  const std::string line = text->substr(0, text->find('\n'));
  // It is shown on terminals.
  std::string version;
  std::copy_if(line.begin(), line.end(), std::back_inserter(version), [](char c) { return c >= ' ' && c <= '~'; });
  return version;
}

Status BuildInto(const fs::path& folder, const fs::path& share_dir, const fs::path& data_dir,
                 const RuntimeRecipe& recipe, const KernelFiles& kernel, const std::string& inputs_hash,
                 const Progress& progress) {
  auto initramfs = BuildInitramfs(share_dir / "snapfaas-init", kernel.modules_dir, Modules());
  if (!initramfs) return Forward(initramfs.error(), "cannot build the initramfs");
  if (auto written = WriteWholeFile(folder / kInitramfsFile, *initramfs); !written) return written;
  if (auto built = BuildRootfs(share_dir, data_dir, recipe, folder, progress); !built) return built;
  auto code_format = KeepCompileStep(folder, share_dir, recipe);
  if (!code_format) return Forward(code_format.error());
  auto version = TakeVersion(folder, recipe);
  if (!version) return Forward(version.error());
  return WriteManifest(folder, recipe, kernel,
                       {.inputs_hash = inputs_hash,
                        .code_format = *code_format,
                        .version = *version,
                        .built_unix_seconds = std::time(nullptr)});
}

}  // namespace

Result<RuntimeImages> BuildRuntime(const fs::path& data_dir, const fs::path& share_dir, const std::string& name,
                                   const Progress& progress) {
  auto recipe = LoadRecipe(share_dir, name);
  if (!recipe) return Forward(recipe.error());
  auto kernel = FetchKernel(data_dir, KernelFlavor::kGuest, progress);
  if (!kernel) return Forward(kernel.error());
  auto inputs_hash = HashInputs(share_dir, *recipe, *kernel);
  if (!inputs_hash) return Forward(inputs_hash.error());

  const fs::path building = BuildFolder(data_dir, name);
  auto lock = FolderLock::Acquire(building);
  if (!lock) return Forward(lock.error());
  TemporaryFolder::RemoveLeftovers(building);
  if (auto present = OpenRuntime(data_dir, name); present && present->inputs_hash == *inputs_hash) return present;

  if (progress) progress(fmt::format("runtime {}: building (a minute or two)", name));
  auto folder = TemporaryFolder::Create(building);
  if (!folder) return Forward(folder.error());
  if (auto built = BuildInto(folder->path(), share_dir, data_dir, *recipe, *kernel, *inputs_hash, progress); !built) {
    return Forward(built.error());
  }
  if (auto published = folder->Publish(RuntimesFolder(data_dir) / name); !published) return Forward(published.error());
  if (progress) progress(fmt::format("runtime {}: ready", name));
  return OpenRuntime(data_dir, name);
}

}  // namespace snapfaas::images
