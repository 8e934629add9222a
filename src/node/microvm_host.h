// MicroVmHost: the VmHost of the node, with real microVMs.
//
//            LaunchAndInvoke, Launch
//                      │
//     ┌── failed ── starting ──> waiting <──> busy (Invoke, Reset)
//     │                │            │           │
//     v                └────────────┴──Destroy──┴──> ending ──> gone
//    gone
//
// What is asked of one microVM is done one after the other, on a thread that blocks meanwhile; Destroy has what is
// under way end at once and comes after it. The first microVM of a snapshot whose pages are still to be recorded does
// so when its answer is already on its way: that request does not wait for it, only the next one of the same microVM
// would.
//
// Functions have to be prepared before they are launched. Every function may be called from any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "faas/function_spec.h"
#include "faas/shell_pool.h"
#include "faas/spawner.h"
#include "faas/vm_host.h"
#include "images/progress.h"
#include "node/endable_spawner.h"
#include "node/function_log.h"
#include "node/function_store.h"
#include "node/hosted_vm.h"
#include "node/node_view.h"
#include "node/runtime_access.h"
#include "node/vm_log.h"
#include "node/worker_threads.h"
#include "wire/messages.h"

namespace snapfaas::node {

class MicroVmHost : public faas::VmHost, public FunctionPreparer {
 public:
  struct Options {
    std::filesystem::path data_dir;  // of runtimes and snapshots
    std::filesystem::path log_dir;   // of the functions' logs
    std::filesystem::path vmm;       // the program snapfaas-vmm
    wire::RestoreMode restore = wire::RestoreMode::kPrefetch;
    Shells shells = Shells::kPrimed;  // only with kPrefetch
    faas::ShellPool::Limits pool;
    size_t max_vms = 256;
    int64_t launch_timeout_ns = 30'000'000'000;  // until the function is loaded
    FunctionLog::Limits log;
    uint64_t snapshot_limit_bytes = 10_GiB;  // on disk
    images::Progress notice;                 // a line for the node's own log, from any thread
  };

  static Result<std::unique_ptr<MicroVmHost>> Create(Options options);

  // With parts of the caller's: for tests.
  using MakeStore = std::function<std::unique_ptr<FunctionStore>(faas::Spawner& spawner)>;
  static Result<std::unique_ptr<MicroVmHost>> Create(Options options, std::unique_ptr<faas::Spawner> spawner,
                                                     const MakeStore& make_store);

  MicroVmHost(const MicroVmHost&) = delete;
  MicroVmHost& operator=(const MicroVmHost&) = delete;
  ~MicroVmHost() override { Stop(); }

  // Also has shells of that kind wait.
  Status Prepare(const PreparedFunction& function) override;
  Status TakeFunctionSnapshot(const std::string& key) override;
  bool HasFunctionSnapshot(const std::string& key) override;
  // Its microVMs live on until they are destroyed.
  void Forget(const std::string& key) override;

  void LaunchAndInvoke(faas::VmId vm, const faas::FunctionSpec& spec, faas::SharedRequest request,
                       std::function<void()> loaded, AnswerDone done) override;
  void Launch(faas::VmId vm, const faas::FunctionSpec& spec, StatusDone done) override;
  void Invoke(faas::VmId vm, faas::SharedRequest request, AnswerDone done) override;
  void Reset(faas::VmId vm, StatusDone done) override;
  void Destroy(faas::VmId vm, std::function<void()> done) override;

  faas::ShellPool::Counts shell_counts() { return pool_->counts(); }

  // 0: it has none, or there is no such microVM.
  pid_t pid(faas::VmId vm);

  Result<NodeView::LogPiece> ReadLog(const std::string& function, std::optional<uint64_t> from, uint64_t max_bytes);
  Result<std::vector<SnapshotInfo>> Snapshots() { return ListSnapshots(options_.data_dir); }

  // Refuses new microVMs, ends those that there are, the ones too that Prepare and TakeFunctionSnapshot wait for, and
  // returns when every `done` has been called and no process is left.
  void Stop();

 private:
  using Job = std::function<void()>;
  // A microVM and what is still to be done with it.
  struct Slot {
    Slot(const HostParts& parts, const faas::FunctionSpec& spec) : vm(parts, spec) {}

    HostedVm vm;
    // Guarded by the host's mutex.
    std::deque<Job> jobs;
    bool is_busy = false;
    bool is_gone = false;
  };
  // Shared by the map and the jobs.
  using SharedSlot = std::shared_ptr<Slot>;

  MicroVmHost(Options options, std::unique_ptr<faas::Spawner> spawner);
  Status SetUp(const MakeStore& make_store);

  Result<SharedSlot> AddSlot(faas::VmId vm, const faas::FunctionSpec& spec);
  SharedSlot Find(faas::VmId vm);
  void Enqueue(const SharedSlot& slot, Job job);
  void RunJobs(const SharedSlot& slot);
  void Remove(faas::VmId vm, Slot& slot);
  void RecordWhereWanted(Slot& slot);
  void ReserveShells();

  const Options options_;
  const std::unique_ptr<faas::Spawner> process_spawner_;
  EndableSpawner spawner_;
  FunctionLogs logs_;
  std::unique_ptr<LogReader> reader_;
  std::unique_ptr<FunctionStore> store_;
  std::unique_ptr<faas::ShellPool> pool_;
  std::optional<HostParts> parts_;
  std::optional<WorkerThreads> workers_;
  std::once_flag stopping_;

  std::mutex reserving_;  // guards what follows
  std::vector<faas::ShellKind> reserved_;

  std::mutex mutex_;  // guards what follows
  std::map<faas::VmId, SharedSlot> slots_;
  bool is_stopped_ = false;
};

}  // namespace snapfaas::node
