#include "cli/runtime_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/units.h"
#include "cli/host_commands.h"
#include "cli/placement.h"
#include "cli/runtime_access.h"
#include "cli/vm_options.h"
#include "faas/process_spawner.h"

namespace snapfaas::cli {
namespace {

struct BuildOptions {
  std::string name;
  faas::VmSize size;
  bool force = false;
};

double ToMib(uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1_MiB); }

void ShowProgress(std::string_view line) { fmt::print(stderr, "snapfaas: {}\n", line); }

Result<int> TakeSnapshotHere(const BuildOptions& options, const Context& context, const OpenedRuntime& runtime) {
  faas::ProcessSpawner spawner(VmmPath(context));
  const auto rebuild = options.force ? Rebuild::kAlways : Rebuild::kWhereNeeded;
  auto manifest = BuildSnapshotWhereNeeded(context, spawner, runtime.files, options.size, rebuild, kBootTimeoutSeconds);
  if (!manifest) return Forward(manifest.error());
  ShowProgress(fmt::format("{} is ready: base snapshot of {} MiB and {} vCPU, {:.1f} MiB of it dirty", options.name,
                           options.size.memory_mib, options.size.vcpus, ToMib(manifest->stored_bytes)));
  return kExitOk;
}

Result<int> TakeSnapshot(const BuildOptions& options, const Context& context) {
  auto runtime = OpenRuntime(context, options.name);
  if (!runtime) return Forward(runtime.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());
  if (*placement == Placement::kHere) return TakeSnapshotHere(options, context, *runtime);
  // Not this command line: it may be that of `build`, whose images are not to be looked at again in there.
  auto executable = ExecutablePath();
  if (!executable) return Forward(executable.error());
  std::vector<std::string> arguments = {executable->string(),
                                        "--data",
                                        context.data_dir.string(),
                                        "runtime",
                                        "snapshot",
                                        options.name,
                                        "--memory",
                                        std::to_string(options.size.memory_mib),
                                        "--vcpus",
                                        std::to_string(options.size.vcpus)};
  if (options.force) arguments.emplace_back("--force");
  return RunInEmulatedHost(context, std::move(arguments));
}

Result<int> Build(const BuildOptions& options, const Context& context) {
  if (options.force) {
    auto removed = images::RemoveRuntime(context.data_dir, options.name);
    if (!removed && removed.error().code != ErrorCode::kNotFound) return Forward(removed.error());
  }
  auto images = images::BuildRuntime(context.data_dir, context.share_dir, options.name, ShowProgress);
  if (!images) return Forward(images.error());
  return TakeSnapshot(options, context);
}

using Entries = std::vector<snapshot::Catalog::Entry>;

// Also where no snapshot was ever taken. Makes no folders.
Result<Entries> ListSnapshots(const Context& context) {
  std::error_code ignored;
  if (!std::filesystem::exists(context.data_dir / "snapshots", ignored)) return Entries();
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, context);
  if (!catalog) return Forward(catalog.error());
  return catalog->List();
}

bool BelongsTo(const snapshot::Catalog::Entry& entry, const std::string& runtime) {
  return entry.manifest ? entry.manifest->key.runtime == runtime : entry.folder.starts_with(runtime + "-");
}

std::string FormatTime(int64_t unix_seconds) {
  const std::time_t when = unix_seconds;
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, size);
}

nlohmann::ordered_json ToJson(const snapshot::Catalog::Entry& entry) {
  if (!entry.manifest) return {{"folder", entry.folder}, {"error", entry.manifest.error().Message()}};
  const auto& manifest = *entry.manifest;
  return {{"folder", entry.folder},
          {"memory_mib", manifest.key.memory_mib},
          {"vcpus", manifest.key.vcpus},
          {"dirty_mib", ToMib(manifest.stored_bytes)},
          {"created", FormatTime(manifest.created_unix_ms / 1000)}};
}

nlohmann::ordered_json ToJson(const images::RuntimeInfo& info, const Entries& entries) {
  auto snapshots = nlohmann::ordered_json::array();
  for (const auto& entry : entries) {
    if (BelongsTo(entry, info.name)) snapshots.push_back(ToJson(entry));
  }
  return {{"name", info.name},
          {"kernel", info.kernel_release},
          {"runtimefs_mib", ToMib(info.rootfs_bytes)},
          {"initramfs_mib", ToMib(info.initramfs_bytes)},
          {"built", FormatTime(info.built_unix_seconds)},
          {"snapshots", std::move(snapshots)}};
}

void PrintRuntime(const images::RuntimeInfo& info, const Entries& entries) {
  fmt::print("{}: kernel {}, runtimefs {:.1f} MiB, built {}\n", info.name, info.kernel_release,
             ToMib(info.rootfs_bytes), FormatTime(info.built_unix_seconds));
  for (const auto& entry : entries) {
    if (!BelongsTo(entry, info.name)) continue;
    if (entry.manifest) {
      fmt::print("  snapshot {:>4} MiB {} vCPU: {:.1f} MiB dirty, taken {}\n", entry.manifest->key.memory_mib,
                 entry.manifest->key.vcpus, ToMib(entry.manifest->stored_bytes),
                 FormatTime(entry.manifest->created_unix_ms / 1000));
    } else {
      fmt::print("  snapshot {}: {}\n", entry.folder, entry.manifest.error().Message());
    }
  }
}

enum class ListFormat { kText, kJson };

Result<int> ListRuntimes(ListFormat format, const Context& context) {
  auto runtimes = images::ListRuntimes(context.data_dir);
  if (!runtimes) return Forward(runtimes.error());
  auto entries = ListSnapshots(context);
  if (!entries) return Forward(entries.error());
  if (format == ListFormat::kJson) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& info : *runtimes) list.push_back(ToJson(info, *entries));
    fmt::print("{}\n", list.dump(2));
    return kExitOk;
  }
  if (runtimes->empty()) fmt::print("no runtime is built; build one: snapfaas runtime build python3\n");
  for (const auto& info : *runtimes) PrintRuntime(info, *entries);
  return kExitOk;
}

Status RemoveSnapshots(const std::string& name, const Context& context) {
  auto entries = ListSnapshots(context);
  if (!entries) return Forward(entries.error());
  if (entries->empty()) return {};
  PosixFileSystem file_system;
  auto catalog = OpenCatalog(file_system, context);
  if (!catalog) return Forward(catalog.error());
  for (const auto& entry : *entries) {
    // One whose manifest cannot be read cannot be named by a key; the next build of its size replaces it.
    if (!entry.manifest || entry.manifest->key.runtime != name) continue;
    auto removed = catalog->Remove(entry.manifest->key);
    if (!removed) return removed;
  }
  return {};
}

Result<int> RemoveRuntime(const std::string& name, const Context& context) {
  auto snapshots = RemoveSnapshots(name, context);
  if (!snapshots) return Forward(snapshots.error());
  auto removed = images::RemoveRuntime(context.data_dir, name);
  if (!removed) return Forward(removed.error());
  return kExitOk;
}

std::string WhyUnusable(const snapshot::Catalog::Entry& entry) {
  if (!entry.manifest) return entry.manifest.error().Message();
  return entry.is_orphan ? "its base snapshot is gone or was replaced" : "";
}

nlohmann::ordered_json ToStoreJson(const snapshot::Catalog::Entry& entry) {
  nlohmann::ordered_json json = {{"folder", entry.folder},
                                 {"kind", entry.is_base ? "base" : "function"},
                                 {"disk_mib", ToMib(entry.disk_bytes)},
                                 {"last_use", FormatTime(entry.last_use_unix_ns / 1'000'000'000)},
                                 {"usable", entry.IsUsable()}};
  if (entry.manifest) json["stored_mib"] = ToMib(entry.manifest->stored_bytes);
  if (!entry.IsUsable()) json["error"] = WhyUnusable(entry);
  return json;
}

void PrintSnapshot(const snapshot::Catalog::Entry& entry) {
  const double stored = entry.manifest ? ToMib(entry.manifest->stored_bytes) : 0;
  fmt::print("{}\n  {}, {:.1f} MiB stored, {:.1f} MiB on disk, last used {}, {}{}\n", entry.folder,
             entry.is_base ? "base" : "function", stored, ToMib(entry.disk_bytes),
             FormatTime(entry.last_use_unix_ns / 1'000'000'000),
             entry.IsUsable() ? "usable" : "unusable: ", WhyUnusable(entry));
}

Result<int> ListStore(ListFormat format, const Context& context) {
  auto entries = ListSnapshots(context);
  if (!entries) return Forward(entries.error());
  if (format == ListFormat::kJson) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& entry : *entries) list.push_back(ToStoreJson(entry));
    fmt::print("{}\n", list.dump(2));
    return kExitOk;
  }
  if (entries->empty()) fmt::print("there is no snapshot; take one: snapfaas runtime build python3\n");
  uint64_t disk_bytes = 0;
  for (const auto& entry : *entries) {
    PrintSnapshot(entry);
    disk_bytes += entry.disk_bytes;
  }
  if (!entries->empty()) fmt::print("{} in all, {:.1f} MiB on disk\n", entries->size(), ToMib(disk_bytes));
  return kExitOk;
}

void PrintCollected(const snapshot::Collected& collected, uint64_t limit_bytes) {
  for (const auto& removed : collected.unusable) {
    fmt::print("removed {}: {:.1f} MiB, unusable\n", removed.folder, ToMib(removed.disk_bytes));
  }
  for (const auto& removed : collected.evicted) {
    fmt::print("removed {}: {:.1f} MiB, not used for the longest\n", removed.folder, ToMib(removed.disk_bytes));
  }
  fmt::print("{} removed, {:.1f} MiB; left are {} base and {} function snapshots, {:.1f} MiB\n",
             collected.unusable.size() + collected.evicted.size(), ToMib(collected.removed_disk_bytes()),
             collected.bases, collected.functions, ToMib(collected.disk_bytes));
  if (collected.pinned_functions > 0) {
    fmt::print("{} function snapshots were left because they are in use\n", collected.pinned_functions);
  }
  if (collected.unusable_bases > 0) {
    fmt::print("{} base snapshots are unusable; make them anew: snapfaas runtime build NAME --force\n",
               collected.unusable_bases);
  }
  if (!collected.is_within_limit) {
    fmt::print(
        "the limit of {:.1f} MiB cannot be reached: base snapshots take {:.1f} MiB, which `snapfaas runtime rm` "
        "frees\n",
        ToMib(limit_bytes), ToMib(collected.base_disk_bytes));
  }
}

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

Result<int> CollectStore(uint64_t limit_bytes, const Context& context) {
  auto entries = ListSnapshots(context);
  if (!entries) return Forward(entries.error());
  snapshot::Collected collected;
  if (!entries->empty()) {
    PosixFileSystem file_system;
    auto catalog = OpenCatalog(file_system, context);
    if (!catalog) return Forward(catalog.error());
    auto done = catalog->Collect(limit_bytes);
    if (!done) return Forward(done.error());
    collected = std::move(*done);
  }
  PrintCollected(collected, limit_bytes);
  return kExitOk;
}

// Runs `action` when the subcommand was given, and turns its outcome into the exit code.
void OnSelected(CLI::App& command, std::function<Result<Context>()> context, int& exit_code,
                std::function<Result<int>(const Context&)> action) {
  command.callback([context = std::move(context), action = std::move(action), &exit_code] {
    auto found = context();
    auto code = found ? action(*found) : Result<int>(Forward(found.error()));
    exit_code = code ? *code : ReportFailure(code.error());
  });
}

std::shared_ptr<BuildOptions> AddBuildOptions(CLI::App& command) {
  auto options = std::make_shared<BuildOptions>();
  command.add_option("name", options->name, "language runtime, e.g. python3")->required();
  AddVmSizeOptions(command, options->size);
  command.add_flag("--force", options->force, "make anew what is up to date, too");
  return options;
}

// Before the number is read, which would make a large one of it.
std::string CheckNotNegative(const std::string& text) {
  return text.find('-') == std::string::npos ? std::string() : text + " is no size";
}

void AddStoreCommands(CLI::App& runtime, std::function<Result<Context>()> context, int& exit_code) {
  auto* list = runtime.add_subcommand("snapshots", "List the snapshots of runtimes and of functions");
  list->fallthrough();
  auto json = std::make_shared<bool>(false);
  list->add_flag("--json", *json, "as JSON");
  OnSelected(*list, context, exit_code,
             [json](const Context& found) { return ListStore(*json ? ListFormat::kJson : ListFormat::kText, found); });

  auto* collect = runtime.add_subcommand("gc", "Remove function snapshots that are unusable, or more than a limit");
  collect->fallthrough();
  auto limit = std::make_shared<uint64_t>(kNoLimit);
  collect
      ->add_option("--limit", *limit,
                   "disk space for all snapshots, e.g. 10GiB: those that were not used for the longest go first")
      ->transform(CLI::AsSizeValue(false))
      ->transform(CLI::Validator(CheckNotNegative, ""));
  OnSelected(*collect, std::move(context), exit_code,
             [limit](const Context& found) { return CollectStore(*limit, found); });
}

}  // namespace

void AddRuntimeCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto* runtime = app.add_subcommand("runtime", "Language runtimes and their base snapshots");
  runtime->require_subcommand(1);
  runtime->fallthrough();

  auto* build = runtime->add_subcommand("build", "Build a runtime's images and take its base snapshot");
  build->fallthrough();
  OnSelected(*build, context, exit_code,
             [options = AddBuildOptions(*build)](const Context& found) { return Build(*options, found); });

  auto* take = runtime->add_subcommand("snapshot", "Take the base snapshot of a runtime that is built");
  take->fallthrough();
  OnSelected(*take, context, exit_code,
             [options = AddBuildOptions(*take)](const Context& found) { return TakeSnapshot(*options, found); });

  auto* list = runtime->add_subcommand("ls", "List the runtimes that are built, and their snapshots");
  list->fallthrough();
  auto json = std::make_shared<bool>(false);
  list->add_flag("--json", *json, "as JSON");
  OnSelected(*list, context, exit_code, [json](const Context& found) {
    return ListRuntimes(*json ? ListFormat::kJson : ListFormat::kText, found);
  });

  auto* remove = runtime->add_subcommand("rm", "Remove a runtime and its snapshots");
  remove->fallthrough();
  auto name = std::make_shared<std::string>();
  remove->add_option("name", *name, "language runtime")->required();
  OnSelected(*remove, context, exit_code, [name](const Context& found) { return RemoveRuntime(*name, found); });

  AddStoreCommands(*runtime, std::move(context), exit_code);
}

}  // namespace snapfaas::cli
