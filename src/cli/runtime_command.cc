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
#include "cli/restore_timing.h"
#include "cli/runtime_access.h"
#include "cli/runtime_build.h"
#include "cli/table.h"
#include "cli/vm_options.h"

namespace snapfaas::cli {
namespace {

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

bool IsBaseOf(const snapshot::Catalog::Entry& entry, const std::string& runtime) {
  if (!entry.is_base) return false;
  return entry.manifest ? entry.manifest->key.runtime == runtime : entry.folder.starts_with(runtime + "-");
}

std::vector<std::string> NamesOf(const std::vector<images::RuntimeRecipe>& recipes) {
  std::vector<std::string> names;
  for (const auto& recipe : recipes) names.push_back(recipe.name);
  return names;
}

std::string FormatTime(int64_t unix_seconds) {
  const std::time_t when = unix_seconds;
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text, size);
}

nlohmann::ordered_json ToJson(const snapshot::Catalog::Entry& entry, const Context& context) {
  if (!entry.manifest) return {{"folder", entry.folder}, {"error", entry.manifest.error().Message()}};
  const auto& manifest = *entry.manifest;
  nlohmann::ordered_json json = {{"folder", entry.folder},
                                 {"memory_mib", manifest.key.memory_mib},
                                 {"vcpus", manifest.key.vcpus},
                                 {"dirty_mib", ToMib(manifest.stored_bytes)},
                                 {"created", FormatTime(manifest.created_unix_ms / 1000)}};
  if (const auto timing = FindRestoreTiming(context.data_dir, manifest)) {
    json["restore_ms"] = timing->MedianMs();
    json["restore_samples_ms"] = timing->ready_ms;
    json["accelerator"] = timing->accelerator;
  }
  return json;
}

nlohmann::ordered_json ToJson(const images::RuntimeInfo& info, const Entries& entries, const Context& context) {
  auto snapshots = nlohmann::ordered_json::array();
  for (const auto& entry : entries) {
    if (IsBaseOf(entry, info.name)) snapshots.push_back(ToJson(entry, context));
  }
  return {{"name", info.name},
          {"version", info.version},
          {"lambda_runtimes", info.lambda_runtimes},
          {"min_memory_mib", info.min_memory_mib},
          {"kernel", info.kernel_release},
          {"runtimefs_mib", ToMib(info.rootfs_bytes)},
          {"initramfs_mib", ToMib(info.initramfs_bytes)},
          {"built", FormatTime(info.built_unix_seconds)},
          {"snapshots", std::move(snapshots)}};
}

std::string Words(const std::vector<std::string>& words) {
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, " "));
}

// A row for each base snapshot; of a runtime that has none one row, with a hint.
void PrintRuntimes(const std::vector<images::RuntimeInfo>& runtimes, const Entries& entries, const Context& context) {
  const std::vector<Column> columns = {{"runtime"},
                                       {"version"},
                                       {"image", Align::kRight},
                                       {"memory", Align::kRight},
                                       {"vcpus", Align::kRight},
                                       {"dirty", Align::kRight},
                                       {"restore", Align::kRight},
                                       {"for Lambda's"}};
  std::vector<std::vector<std::string>> rows;
  for (const auto& info : runtimes) {
    const auto row = [&](const std::string& memory, const std::string& vcpus, const std::string& dirty,
                         const std::string& restore) {
      rows.push_back({info.name, info.version.empty() ? "-" : info.version,
                      fmt::format("{:.1f} MiB", ToMib(info.rootfs_bytes)), memory, vcpus, dirty, restore,
                      Words(info.lambda_runtimes)});
    };
    bool has_any = false;
    for (const auto& entry : entries) {
      if (!IsBaseOf(entry, info.name)) continue;
      has_any = true;
      if (!entry.manifest) {
        row("-", "-", "unusable", "-");
        continue;
      }
      const auto& manifest = *entry.manifest;
      const auto timing = FindRestoreTiming(context.data_dir, manifest);
      row(fmt::format("{} MiB", manifest.key.memory_mib), std::to_string(manifest.key.vcpus),
          fmt::format("{:.1f} MiB", ToMib(manifest.stored_bytes)),
          timing ? fmt::format("{:.1f} ms", timing->MedianMs()) : "-");
    }
    if (!has_any) row("-", "-", "no snapshot", "-");
  }
  fmt::print("{}", FormatTable(columns, rows));
}

enum class ListFormat { kText, kJson };

Result<int> ListRuntimes(ListFormat format, const Context& context) {
  auto runtimes = images::ListRuntimes(context.data_dir);
  if (!runtimes) return Forward(runtimes.error());
  auto entries = ListSnapshots(context);
  if (!entries) return Forward(entries.error());
  if (format == ListFormat::kJson) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& info : *runtimes) list.push_back(ToJson(info, *entries, context));
    fmt::print("{}\n", list.dump(2));
    return kExitOk;
  }
  if (runtimes->empty()) {
    fmt::print("no runtime is built; build some: snapfaas runtime build NAME... or --all; there are {}\n",
               Words(NamesOf(images::ListRecipes(context.share_dir))));
    return kExitOk;
  }
  PrintRuntimes(*runtimes, *entries, context);
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
  if (entries->empty()) fmt::print("there is no snapshot; take one: snapfaas runtime build NAME\n");
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

void AddForceFlag(CLI::App& command, Force& force) {
  command.add_flag_callback(
      "--force", [&force] { force = Force::kYes; }, "make anew what is up to date, too");
}

void AddBuild(CLI::App& runtime, std::function<Result<Context>()> context, int& exit_code) {
  auto* build = runtime.add_subcommand("build", "Build the images of runtimes and take their base snapshots");
  build->fallthrough();
  auto options = std::make_shared<RuntimeBuildOptions>();
  auto all = std::make_shared<bool>(false);
  auto* names = build->add_option("names", options->names, "language runtimes, e.g. python3");
  build->add_flag("--all", *all, "all there are")->excludes(names);
  AddVmSizeOptions(*build, options->size);
  AddForceFlag(*build, options->force);
  build->add_option("--jobs", options->jobs, "images that are built at a time (else the number of processors)")
      ->check(CLI::Range(1, 64));
  OnSelected(*build, std::move(context), exit_code, [options, all](const Context& found) -> Result<int> {
    if (*all) options->names = NamesOf(images::ListRecipes(found.share_dir));
    if (options->names.empty()) throw CLI::RequiredError("the name of a runtime, or --all,");
    return BuildRuntimes(*options, found);
  });
}

void AddSnapshot(CLI::App& runtime, std::function<Result<Context>()> context, int& exit_code) {
  auto* take = runtime.add_subcommand("snapshot", "Take the base snapshot of a runtime that is built");
  take->fallthrough();
  struct Options {
    std::string name;
    WantedVmSize size;
    Force force = Force::kNo;
  };
  auto options = std::make_shared<Options>();
  take->add_option("name", options->name, "language runtime, e.g. python3")->required();
  AddVmSizeOptions(*take, options->size);
  AddForceFlag(*take, options->force);
  OnSelected(*take, std::move(context), exit_code, [options](const Context& found) {
    return TakeBaseSnapshot(options->name, options->size, options->force, found);
  });
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

  AddBuild(*runtime, context, exit_code);
  AddSnapshot(*runtime, context, exit_code);

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
