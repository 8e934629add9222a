#include "images/runtime_store.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "images/erofs.h"
#include "images/files.h"
#include "images/recipe.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kManifestVersion = 1;

struct Manifest {
  RuntimeRecipe recipe;
  std::string kernel_folder;  // below <data>/kernels
  std::string code_format;
  RuntimeInfo info;
};

template <typename T>
std::optional<T> Field(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return std::nullopt;
  } else {
    if (!found->is_number_integer() || (std::is_unsigned_v<T> && !found->is_number_unsigned())) return std::nullopt;
  }
  return found->get<T>();
}

Result<Manifest> ReadManifest(const fs::path& folder) {
  const std::string what = (folder / kManifestFile).string();
  auto text = ReadWholeFile(what);
  if (!text) return Forward(text.error());
  auto object = ParseJsonObject(*text, what);
  if (!object) return Forward(object.error());
  if (Field<int64_t>(*object, "version") != kManifestVersion) {
    return Fail(ErrorCode::kIncompatible, "{} is of another version; 'snapfaas runtime build' makes it anew", what);
  }
  const auto recipe_json = object->find("recipe");
  if (recipe_json == object->end() || !recipe_json->is_object())
    return Fail(ErrorCode::kCorrupt, "{}: no \"recipe\"", what);
  auto recipe = RecipeFromJson(*recipe_json, what);
  if (!recipe) return Forward(recipe.error());
  const auto kernel_folder = Field<std::string>(*object, "kernel_folder");
  const auto kernel_release = Field<std::string>(*object, "kernel_release");
  const auto inputs_hash = Field<std::string>(*object, "inputs_hash");
  const auto rootfs_bytes = Field<uint64_t>(*object, "rootfs_bytes");
  const auto initramfs_bytes = Field<uint64_t>(*object, "initramfs_bytes");
  const auto code_format = Field<std::string>(*object, "code_format");
  const auto version = Field<std::string>(*object, "runtime_version");
  const auto built = Field<int64_t>(*object, "built_unix_seconds");
  if (!kernel_folder || kernel_folder->find('/') != std::string::npos || !kernel_release || !inputs_hash ||
      !rootfs_bytes || !initramfs_bytes || !built) {
    return Fail(ErrorCode::kCorrupt, "{}: a key is missing or is not what it should be", what);
  }
  return Manifest{.recipe = *recipe,
                  .kernel_folder = *kernel_folder,
                  .code_format = code_format.value_or(""),
                  .info = {.name = recipe->name,
                           .kernel_release = *kernel_release,
                           .inputs_hash = *inputs_hash,
                           .rootfs_bytes = *rootfs_bytes,
                           .initramfs_bytes = *initramfs_bytes,
                           .built_unix_seconds = *built,
                           .version = version.value_or(""),
                           .lambda_runtimes = recipe->lambda_runtimes,
                           .min_memory_mib = recipe->min_memory_mib}};
}

Status CheckSize(const fs::path& file, uint64_t expected) {
  auto size = FileSize(file);
  if (!size) return Forward(size.error());
  if (*size == expected) return {};
  return Fail(ErrorCode::kCorrupt, "{} has {} bytes where its manifest says {}", file.string(), *size, expected);
}

Error WithMend(Error error, const std::string& name) {
  error.context += fmt::format(" ('snapfaas runtime rm {0}' and 'snapfaas runtime build {0}' make it anew)", name);
  return error;
}

// Empty when the runtime has no compile step.
std::vector<std::string> CompileCommand(const Manifest& manifest, const fs::path& folder) {
  if (!manifest.recipe.compile) return {};
  std::vector<std::string> command = manifest.recipe.compile->interpreter;
  command.push_back((folder / manifest.recipe.compile->script).string());
  command.push_back(manifest.code_format);
  return command;
}

Status CheckFiles(const RuntimeImages& images, const RuntimeInfo& info) {
  if (auto checked = CheckErofsImage(images.rootfs); !checked) return checked;
  if (auto checked = CheckSize(images.rootfs, info.rootfs_bytes); !checked) return checked;
  if (auto checked = CheckSize(images.initramfs, info.initramfs_bytes); !checked) return checked;
  if (const auto& step = images.recipe.compile) {
    if (auto size = FileSize(images.rootfs.parent_path() / step->script); !size) return Forward(size.error());
  }
  for (const fs::path& kernel : {images.kernel, images.kernel_elf}) {
    if (auto size = FileSize(kernel); !size) return Forward(size.error(), "the guest kernel is gone");
  }
  return {};
}

}  // namespace

fs::path RuntimesFolder(const fs::path& data_dir) { return data_dir / "runtimes"; }
fs::path PackagesFolder(const fs::path& data_dir) { return data_dir / "packages"; }
// A dot begins no runtime's name.
fs::path BuildFolder(const fs::path& data_dir, const std::string& name) {
  return RuntimesFolder(data_dir) / ".building" / name;
}

Status WriteManifest(const fs::path& folder, const RuntimeRecipe& recipe, const KernelFiles& kernel,
                     const BuildFindings& findings) {
  auto rootfs_bytes = FileSize(folder / kRootfsFile);
  if (!rootfs_bytes) return Forward(rootfs_bytes.error());
  auto initramfs_bytes = FileSize(folder / kInitramfsFile);
  if (!initramfs_bytes) return Forward(initramfs_bytes.error());
  json manifest = {{"version", kManifestVersion},
                   {"recipe", RecipeToJson(recipe)},
                   {"kernel_folder", kernel.dir.filename().string()},
                   {"kernel_release", kernel.release},
                   {"inputs_hash", findings.inputs_hash},
                   {"rootfs_bytes", *rootfs_bytes},
                   {"initramfs_bytes", *initramfs_bytes},
                   {"built_unix_seconds", findings.built_unix_seconds}};
  if (recipe.compile) manifest["code_format"] = findings.code_format;
  // "version" is the file's own.
  if (!findings.version.empty()) manifest["runtime_version"] = findings.version;
  return WriteWholeFile(folder / kManifestFile, manifest.dump(2) + "\n");
}

Result<RuntimeImages> OpenRuntime(const fs::path& data_dir, const std::string& name) {
  const fs::path folder = RuntimesFolder(data_dir) / name;
  std::error_code error;
  if (!IsRuntimeName(name) || !fs::is_directory(folder, error)) {
    return Fail(ErrorCode::kNotFound, "runtime {} is not built; 'snapfaas runtime build {}' builds it", name, name);
  }
  auto manifest = ReadManifest(folder);
  if (!manifest) return Forward(WithMend(manifest.error(), name));
  RuntimeImages images{.recipe = manifest->recipe,
                       .kernel_release = manifest->info.kernel_release,
                       .inputs_hash = manifest->info.inputs_hash,
                       .kernel = data_dir / "kernels" / manifest->kernel_folder / "vmlinuz",
                       .kernel_elf = data_dir / "kernels" / manifest->kernel_folder / "vmlinux",
                       .initramfs = folder / kInitramfsFile,
                       .rootfs = folder / kRootfsFile,
                       .compile_command = CompileCommand(*manifest, folder),
                       .version = manifest->info.version,
                       .packages = {PackagesFolder(data_dir), folder / kPackagesFile}};
  if (auto checked = CheckFiles(images, manifest->info); !checked) return Forward(WithMend(checked.error(), name));
  return images;
}

Result<std::vector<RuntimeInfo>> ListRuntimes(const fs::path& data_dir) {
  std::vector<RuntimeInfo> runtimes;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(RuntimesFolder(data_dir), error)) {
    if (!IsRuntimeName(entry.path().filename().string())) continue;
    if (auto manifest = ReadManifest(entry.path())) runtimes.push_back(manifest->info);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return FailErrno(error.value(), "cannot read the folder {}", RuntimesFolder(data_dir).string());
  }
  const auto by_name = [](const RuntimeInfo& a, const RuntimeInfo& b) { return a.name < b.name; };
  std::sort(runtimes.begin(), runtimes.end(), by_name);
  return runtimes;
}

Status RemoveRuntime(const fs::path& data_dir, const std::string& name) {
  const fs::path runtimes = RuntimesFolder(data_dir);
  std::error_code error;
  if (!IsRuntimeName(name) || !fs::exists(runtimes / name, error)) {
    return Fail(ErrorCode::kNotFound, "there is no runtime {}", name);
  }
  const fs::path graveyard = BuildFolder(data_dir, name);
  auto lock = FolderLock::Acquire(graveyard);
  if (!lock) return Forward(lock.error());
  // Out of sight at once, so that an interrupted removal leaves no half of a runtime.
  auto grave = TemporaryFolder::Create(graveyard);
  if (!grave) return Forward(grave.error());
  fs::rename(runtimes / name, grave->path() / name, error);
  if (error) return FailErrno(error.value(), "cannot remove {}", (runtimes / name).string());
  return {};
}

}  // namespace snapfaas::images
