#include "cli/restore_bench.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "faas/runtime_files.h"

namespace snapfaas::cli {
namespace {

// Takes the snapshot's files out of the page cache; a restore then reads them from the disk.
Status DropFromCache(const snapshot::LoadedSnapshot& snapshot) {
  // Pages that are still to be written would stay.
  ::sync();
  const snapshot::ImageFiles files = snapshot.images();
  for (const int fd : {files.image, files.overlay, files.kernel, files.packed}) {
    if (fd < 0) continue;
    const int failure = ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (failure != 0) return FailErrno(failure, "dropping a snapshot's file from the page cache");
  }
  return {};
}

}  // namespace

RestoreBench::RestoreBench(const Context& context, const OpenedRuntime& runtime, std::string event, UniqueFd appfs,
                           snapshot::InMemoryImage runtimefs)
    : context_(context),
      runtime_(runtime),
      event_(std::move(event)),
      appfs_(std::move(appfs)),
      runtimefs_(std::move(runtimefs)),
      spawner_(VmmPath(context)) {}

Result<std::unique_ptr<RestoreBench>> RestoreBench::Create(const Context& context, const OpenedRuntime& runtime,
                                                           const BenchOptions& options) {
  auto appfs = MakeAppfs(options.app, runtime, options.appfs_in);
  if (!appfs) return Forward(appfs.error());
  auto runtimefs = faas::LoadRuntimefs(runtime.files);
  if (!runtimefs) return Forward(runtimefs.error());
  std::unique_ptr<RestoreBench> bench(
      new RestoreBench(context, runtime, options.event, std::move(*appfs), std::move(*runtimefs)));
  // One at a time: what waits for another way would be in memory too.
  auto pool = faas::ShellPool::Create(bench->spawner_, {.shells_per_kind = 1, .max_shells = 1},
                                      [made = bench.get()](const faas::ShellKind& /*kind*/) {
                                        return faas::OpenPrimeImages(made->runtimefs_, *made->primed_with_);
                                      });
  if (!pool) return Forward(pool.error());
  bench->pool_ = std::move(*pool);
  return bench;
}

RestoreBench::Priming::Priming(RestoreBench& bench, const faas::VmSize& size, const snapshot::LoadedSnapshot& base)
    : bench_(bench), kind_(size, base.base_id()) {
  bench_.primed_with_ = &base;
}

RestoreBench::Priming::~Priming() {
  static_cast<void>(bench_.pool_->Reserve(kind_, 0));
  static_cast<void>(bench_.pool_->WaitFull(kind_, DeadlineIn(kRestoreTimeoutSeconds)));
  bench_.primed_with_ = nullptr;
}

faas::ShellKind RestoreBench::KindOf(const snapshot::LoadedSnapshot& snapshot, const Way& way) {
  return {way.size, way.shells == Shells::kPrimed ? snapshot.base_id() : ""};
}

Result<Claim> RestoreBench::ClaimShell(const snapshot::LoadedSnapshot& snapshot, const Way& way) {
  return cli::ClaimShell(*pool_, KindOf(snapshot, way), DeadlineIn(kRestoreTimeoutSeconds));
}

Status RestoreBench::EmptyPool(const snapshot::LoadedSnapshot& snapshot, const Way& way) {
  const faas::ShellKind kind = KindOf(snapshot, way);
  auto reserved = pool_->Reserve(kind, 0);
  if (!reserved) return reserved;
  return pool_->WaitFull(kind, DeadlineIn(kRestoreTimeoutSeconds));
}

Result<RestoreBench::RestoredVm> RestoreBench::RestoreAndInvoke(const snapshot::LoadedSnapshot& snapshot,
                                                                const Way& way, const std::string& event) {
  auto function = FunctionOf(appfs_.get());
  if (!function) return Forward(function.error());
  auto images = faas::OpenRestoreImages(runtimefs_, snapshot, way.mode);
  if (!images) return Forward(images.error());
  if (way.cache == Cache::kDropped) {
    auto dropped = DropFromCache(snapshot);
    if (!dropped) return Forward(dropped.error());
  }
  auto claim = ClaimShell(snapshot, way);
  if (!claim) return Forward(claim.error());
  auto vm = faas::MicroVm::Create(std::move(claim->taken.shell), claim->asked_ns);
  if (!vm) return Forward(vm.error());
  const int64_t deadline = DeadlineIn(kRestoreTimeoutSeconds + kRequestTimeoutSeconds);
  auto answer = ResultOf(vm->RestoreAndInvoke(std::move(*images), std::move(*function), {event, ""}, deadline));
  if (!answer) return Forward(answer.error());
  return RestoredVm{std::move(claim->taken.pause), std::move(*vm)};
}

Status RestoreBench::RecordWhereNeeded(const faas::VmSize& size, snapshot::LoadedSnapshot& snapshot) {
  if (snapshot.has_working_set()) return {};
  auto restored = RestoreAndInvoke(snapshot, {size, wire::RestoreMode::kMmap});
  if (!restored) return Forward(restored.error());
  return KeepWorkingSet(context_, restored->vm, snapshot);
}

Result<Layers> RestoreBench::LoadLayers(const faas::VmSize& size, faas::Tier tier, Layer layer) {
  auto base = LoadSnapshot(context_, spawner_, runtime_.files, size, tier, kBootTimeoutSeconds);
  if (!base) return Forward(base.error());
  auto recorded = RecordWhereNeeded(size, *base);
  if (!recorded) return Forward(recorded.error());
  auto function =
      LoadFunctionSnapshot(context_, spawner_, runtime_.files, runtimefs_, *base, appfs_.get(), layer, tier);
  if (!function) return Forward(function.error());
  if (function->has_value()) recorded = RecordWhereNeeded(size, **function);
  if (!recorded) return Forward(recorded.error());
  if (function->has_value() && tier == faas::Tier::kMemory) {
    auto learned = base->LearnFrom(**function);
    if (!learned) return Forward(learned.error());
  }
  return Layers{std::move(*base), std::move(*function)};
}

}  // namespace snapfaas::cli
