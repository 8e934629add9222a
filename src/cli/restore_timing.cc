#include "cli/restore_timing.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/json.h"
#include "cli/bench_support.h"
#include "cli/breakdown_report.h"
#include "faas/launcher.h"
#include "faas/shell_pool.h"
#include "images/appfs.h"
#include "images/files.h"
#include "images/runtime_store.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kRuns = 5;

fs::path FileOf(const fs::path& data_dir, const snapshot::SnapshotKey& key) {
  return images::RuntimesFolder(data_dir) / key.runtime /
         fmt::format("restores-{}mib-{}vcpu.json", key.memory_mib, key.vcpus);
}

// The image of a function that has no files.
Result<UniqueFd> EmptyAppfs(const OpenedRuntime& runtime) {
  auto folder = images::TemporaryFolder::Create(fs::temp_directory_path());
  if (!folder) return Forward(folder.error());
  const fs::path app = folder->path() / "app";
  if (auto made = images::MakeFolders(app); !made) return Forward(made.error());
  const fs::path image = folder->path() / "appfs.erofs";
  auto built = images::BuildAppfs(app, runtime.recipe, {}, image, images::HandlerCheck::kNone);
  if (!built) return Forward(built.error());
  UniqueFd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "opening {}", image.string());
  return file;
}

// Milliseconds to the mounted function. That there is none to load then is as it should be.
Result<double> TimeOne(faas::ShellPool& pool, const faas::VmSize& size, const snapshot::InMemoryImage& runtimefs,
                       const snapshot::LoadedSnapshot& snapshot, int appfs_fd) {
  auto function = FunctionOf(appfs_fd);
  if (!function) return Forward(function.error());
  auto images = faas::OpenRestoreImages(runtimefs, snapshot, wire::RestoreMode::kPrefetch);
  if (!images) return Forward(images.error());
  const int64_t deadline = DeadlineIn(kRestoreTimeoutSeconds);
  auto claim = ClaimShell(pool, {size, images->base}, deadline);
  if (!claim) return Forward(claim.error());
  auto vm = faas::MicroVm::Create(std::move(claim->taken.shell), claim->asked_ns);
  if (!vm) return Forward(vm.error());
  auto restored = vm->Restore(std::move(*images), std::move(*function), deadline);
  // The VMM keeps marks back until it has something else to say; a language that is quick to miss its function is heard
  // before them.
  if (!restored) static_cast<void>(vm->RecordWorkingSet(deadline));
  const faas::Timeline& timeline = vm->timeline();
  if (timeline.mounted > timeline.launched) return static_cast<double>(timeline.mounted - timeline.launched) / 1e6;
  if (!restored) return Forward(restored.error());
  return MissingMarks();
}

Result<RestoreTiming> Time(const Context& context, faas::Spawner& spawner, const OpenedRuntime& runtime,
                           const faas::VmSize& size) {
  auto appfs = EmptyAppfs(runtime);
  if (!appfs) return Forward(appfs.error());
  auto runtimefs = faas::LoadRuntimefs(runtime.files);
  if (!runtimefs) return Forward(runtimefs.error());
  auto snapshot = LoadSnapshot(context, spawner, runtime.files, size, faas::Tier::kMemory, kBootTimeoutSeconds);
  if (!snapshot) return Forward(snapshot.error());
  auto pool = faas::ShellPool::Create(spawner, {.shells_per_kind = 1, .max_shells = 1}, [&](const faas::ShellKind&) {
    return faas::OpenPrimeImages(*runtimefs, *snapshot);
  });
  if (!pool) return Forward(pool.error());
  RestoreTiming timing{snapshot->manifest().state_checksum, AcceleratorName(), {}};
  // The first one is not counted.
  for (int run = -1; run < kRuns; ++run) {
    auto millis = TimeOne(**pool, size, *runtimefs, *snapshot, appfs->get());
    if (!millis) return Forward(millis.error());
    if (run >= 0) timing.ready_ms.push_back(*millis);
  }
  return timing;
}

}  // namespace

double RestoreTiming::MedianMs() const { return SpreadOf(ready_ms).median; }

std::string EncodeRestoreTiming(const RestoreTiming& timing) {
  const nlohmann::ordered_json json = {
      {"snapshot", timing.snapshot}, {"accelerator", timing.accelerator}, {"ready_ms", MillisToJson(timing.ready_ms)}};
  return json.dump() + "\n";
}

std::optional<RestoreTiming> DecodeRestoreTiming(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto snapshot = json.find("snapshot");
  const auto accelerator = json.find("accelerator");
  const auto ready = json.find("ready_ms");
  if (snapshot == json.end() || !snapshot->is_number_unsigned() || accelerator == json.end() ||
      !accelerator->is_string() || ready == json.end() || !ready->is_array() || ready->empty()) {
    return std::nullopt;
  }
  RestoreTiming timing{snapshot->get<uint64_t>(), accelerator->get<std::string>(), {}};
  for (const auto& millis : *ready) {
    if (!millis.is_number()) return std::nullopt;
    timing.ready_ms.push_back(millis.get<double>());
  }
  return timing;
}

std::optional<RestoreTiming> FindRestoreTiming(const fs::path& data_dir, const snapshot::Manifest& manifest) {
  auto text = images::ReadWholeFile(FileOf(data_dir, manifest.key));
  if (!text) return std::nullopt;
  auto timing = DecodeRestoreTiming(*text);
  if (!timing || timing->snapshot != manifest.state_checksum) return std::nullopt;
  return timing;
}

Result<RestoreTiming> TimeRestoresWhereNeeded(const Context& context, faas::Spawner& spawner,
                                              const OpenedRuntime& runtime, const faas::VmSize& size,
                                              const snapshot::Manifest& manifest) {
  if (auto known = FindRestoreTiming(context.data_dir, manifest)) return *std::move(known);
  auto timing = Time(context, spawner, runtime, size);
  if (!timing) return timing;
  auto written = WriteReport(FileOf(context.data_dir, manifest.key), EncodeRestoreTiming(*timing));
  if (!written) return Forward(written.error());
  return timing;
}

}  // namespace snapfaas::cli
