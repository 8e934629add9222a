// RestoreBench: one function and every way to bring a microVM of it to life, for measurements.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/bench_support.h"
#include "cli/context.h"
#include "cli/runtime_access.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "faas/shell_pool.h"
#include "snapshot/store.h"

namespace snapfaas::cli {

enum class Cache { kAsIs, kDropped };

// What a run restores, and how.
struct Way {
  faas::VmSize size;
  wire::RestoreMode mode = wire::RestoreMode::kPrefetch;
  Cache cache = Cache::kAsIs;
  Shells shells = Shells::kBare;
};

// The snapshots of one size in one tier.
struct Layers {
  snapshot::LoadedSnapshot base;
  std::optional<snapshot::LoadedSnapshot> function;

  // REQUIRES: for "function" that it was loaded.
  snapshot::LoadedSnapshot& Of(std::string_view layer) { return layer == "function" ? *function : base; }
};

class RestoreBench {
 public:
  // REQUIRES: context and runtime outlive it.
  static Result<std::unique_ptr<RestoreBench>> Create(const Context& context, const OpenedRuntime& runtime,
                                                      const BenchOptions& options);

  RestoreBench(const RestoreBench&) = delete;
  RestoreBench& operator=(const RestoreBench&) = delete;
  ~RestoreBench() = default;

  // Takes what is not there yet. The first restore of a snapshot, with the event, records its working set.
  Result<Layers> LoadLayers(const faas::VmSize& size, faas::Tier tier, Layer layer);

  // No shell is started while it lives.
  struct RestoredVm {
    faas::ShellPool::Pause pause;
    faas::MicroVm vm;
  };
  // Brings a microVM to life, with the request waiting, until it has answered.
  Result<RestoredVm> RestoreAndInvoke(const snapshot::LoadedSnapshot& snapshot, const Way& way,
                                      const std::string& event);
  Result<RestoredVm> RestoreAndInvoke(const snapshot::LoadedSnapshot& snapshot, const Way& way) {
    return RestoreAndInvoke(snapshot, way, event_);
  }

  // What the pool's thread primes shells with, which has to stay until that thread is done with it.
  class Priming {
   public:
    // REQUIRES: one at a time.
    Priming(RestoreBench& bench, const faas::VmSize& size, const snapshot::LoadedSnapshot& base);
    Priming(const Priming&) = delete;
    Priming& operator=(const Priming&) = delete;
    ~Priming();

   private:
    RestoreBench& bench_;
    faas::ShellKind kind_;
  };

  // A shell as the next RestoreAndInvoke would take it; it is to be dropped.
  Result<Claim> ClaimShell(const snapshot::LoadedSnapshot& snapshot, const Way& way);

  // Ends the shells that wait for the next restore in this way.
  Status EmptyPool(const snapshot::LoadedSnapshot& snapshot, const Way& way);

  const Context& context() const { return context_; }
  const OpenedRuntime& runtime() const { return runtime_; }
  const std::string& event() const { return event_; }
  faas::Spawner& spawner() { return spawner_; }
  int appfs_fd() const { return appfs_.get(); }

 private:
  RestoreBench(const Context& context, const OpenedRuntime& runtime, std::string event, UniqueFd appfs,
               snapshot::InMemoryImage runtimefs);
  static faas::ShellKind KindOf(const snapshot::LoadedSnapshot& snapshot, const Way& way);
  Status RecordWhereNeeded(const faas::VmSize& size, snapshot::LoadedSnapshot& snapshot);

  const Context& context_;
  const OpenedRuntime& runtime_;
  const std::string event_;
  const UniqueFd appfs_;
  const snapshot::InMemoryImage runtimefs_;
  faas::ProcessSpawner spawner_;
  const snapshot::LoadedSnapshot* primed_with_ = nullptr;
  std::unique_ptr<faas::ShellPool> pool_;
};

}  // namespace snapfaas::cli
