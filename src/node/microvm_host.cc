#include "node/microvm_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "faas/process_spawner.h"
#include "node/loaded_functions.h"

namespace snapfaas::node {
namespace {

using faas::FunctionOutcome;
using faas::FunctionSpec;
using faas::SharedRequest;
using faas::VmId;

// For what is done beside the microVMs.
constexpr size_t kSpareThreads = 2;

faas::VmHost::Answer Unanswered(FunctionOutcome::Kind kind, std::string message) {
  faas::VmHost::Answer answer;
  answer.outcome.kind = kind;
  answer.outcome.message = std::move(message);
  return answer;
}

tl::unexpected<Error> NoSuchVm(VmId vm) { return Fail(ErrorCode::kNotFound, "there is no microVM {}", vm); }

}  // namespace

MicroVmHost::MicroVmHost(Options options, std::unique_ptr<faas::Spawner> spawner)
    : options_(std::move(options)),
      process_spawner_(std::move(spawner)),
      spawner_(*process_spawner_),
      logs_(options_.log_dir, options_.log, options_.notice) {}

Result<std::unique_ptr<MicroVmHost>> MicroVmHost::Create(Options options) {
  auto spawner = std::make_unique<faas::ProcessSpawner>(options.vmm);
  const SnapshotHome home{options.data_dir, options.notice, options.snapshot_limit_bytes};
  const MakeStore make_store = [home, mode = options.restore](faas::Spawner& used) {
    return std::make_unique<LoadedFunctions>(home, used, mode);
  };
  return Create(std::move(options), std::move(spawner), make_store);
}

Result<std::unique_ptr<MicroVmHost>> MicroVmHost::Create(Options options, std::unique_ptr<faas::Spawner> spawner,
                                                         const MakeStore& make_store) {
  std::unique_ptr<MicroVmHost> host(new MicroVmHost(std::move(options), std::move(spawner)));
  auto set_up = host->SetUp(make_store);
  if (!set_up) return Forward(set_up.error());
  return host;
}

Status MicroVmHost::SetUp(const MakeStore& make_store) {
  auto reader = LogReader::Create();
  if (!reader) return Forward(reader.error());
  reader_ = std::move(*reader);
  store_ = make_store(spawner_);
  auto pool = faas::ShellPool::Create(spawner_, options_.pool, [store = store_.get()](const faas::ShellKind& kind) {
    return store->OpenPrimeImages(kind);
  });
  if (!pool) return Forward(pool.error());
  pool_ = std::move(*pool);
  parts_.emplace(HostParts{*store_, *pool_, *reader_, logs_, options_.shells, options_.launch_timeout_ns});
  workers_.emplace(options_.max_vms + kSpareThreads);
  return {};
}

Status MicroVmHost::Prepare(const PreparedFunction& function) {
  auto prepared = store_->Prepare(function);
  if (prepared) ReserveShells();
  return prepared;
}

Status MicroVmHost::TakeFunctionSnapshot(const std::string& key) { return store_->TakeFunctionSnapshot(key); }

bool MicroVmHost::HasFunctionSnapshot(const std::string& key) { return store_->HasFunctionSnapshot(key); }

void MicroVmHost::Forget(const std::string& key) {
  store_->Forget(key);
  ReserveShells();
}

// Shells wait for the functions that there are, and for no others: a primed one holds the memory of its snapshot.
void MicroVmHost::ReserveShells() {
  const std::lock_guard lock(reserving_);
  auto kinds = store_->ShellKinds();
  if (options_.shells == Shells::kBare) {
    for (auto& kind : kinds) kind.base.clear();
  }
  const auto is_new = [this](const auto& kind) {
    return std::find(reserved_.begin(), reserved_.end(), kind) == reserved_.end();
  };
  const auto is_gone = [&kinds](const auto& kind) {
    return std::find(kinds.begin(), kinds.end(), kind) == kinds.end();
  };
  // Advice: a launch without a shell that waits starts one.
  for (const auto& kind : reserved_) {
    if (is_gone(kind)) (void)pool_->Reserve(kind, 0);
  }
  for (const auto& kind : kinds) {
    if (is_new(kind)) (void)pool_->Reserve(kind, options_.pool.shells_per_kind);
  }
  reserved_ = std::move(kinds);
}

Result<MicroVmHost::SharedSlot> MicroVmHost::AddSlot(VmId vm, const FunctionSpec& spec) {
  const std::lock_guard lock(mutex_);
  if (is_stopped_) return Fail(ErrorCode::kUnavailable, "the node is about to stop");
  if (slots_.size() >= options_.max_vms) {
    return Fail(ErrorCode::kResourceExhausted, "there are {} microVMs already, as many as there may be", slots_.size());
  }
  auto slot = std::make_shared<Slot>(*parts_, spec);
  if (!slots_.emplace(vm, slot).second) return Fail(ErrorCode::kAlreadyExists, "there is a microVM {} already", vm);
  return slot;
}

MicroVmHost::SharedSlot MicroVmHost::Find(VmId vm) {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(vm);
  return found == slots_.end() ? nullptr : found->second;
}

void MicroVmHost::Enqueue(const SharedSlot& slot, Job job) {
  {
    std::unique_lock lock(mutex_);
    if (slot->is_gone) {
      lock.unlock();
      job();  // finds nothing to do, and there may be no threads any more
      return;
    }
    slot->jobs.push_back(std::move(job));
    if (std::exchange(slot->is_busy, true)) return;
  }
  workers_->Run([this, slot] { RunJobs(slot); });
}

void MicroVmHost::RunJobs(const SharedSlot& slot) {
  std::unique_lock lock(mutex_);
  while (!slot->jobs.empty()) {
    Job job = std::move(slot->jobs.front());
    slot->jobs.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
  }
  slot->is_busy = false;
}

// In a job of this microVM.
void MicroVmHost::Remove(VmId vm, Slot& slot) {
  slot.vm.End();
  const std::lock_guard lock(mutex_);
  slot.is_gone = true;
  slots_.erase(vm);
}

void MicroVmHost::LaunchAndInvoke(VmId vm, const FunctionSpec& spec, SharedRequest request,
                                  std::function<void()> loaded, AnswerDone done) {
  const int64_t launched_ns = MonotonicNanos();
  auto slot = AddSlot(vm, spec);
  if (!slot) {
    done(Unanswered(FunctionOutcome::Kind::kLaunchFailed, slot.error().Message()));
    return;
  }
  Enqueue(*slot, [this, vm, launched_ns, slot = *slot, request = std::move(request), loaded = std::move(loaded),
                  done = std::move(done)] {
    auto answer = slot->vm.LaunchAndInvoke(launched_ns, *request, loaded);
    if (answer.outcome.kind == FunctionOutcome::Kind::kLaunchFailed) Remove(vm, *slot);
    done(std::move(answer));
    RecordWhereWanted(*slot);
  });
}

void MicroVmHost::Launch(VmId vm, const FunctionSpec& spec, StatusDone done) {
  const int64_t launched_ns = MonotonicNanos();
  auto slot = AddSlot(vm, spec);
  if (!slot) {
    done(Forward(slot.error()));
    return;
  }
  Enqueue(*slot, [this, vm, launched_ns, slot = *slot, done = std::move(done)] {
    auto launched = slot->vm.Launch(launched_ns);
    if (!launched) Remove(vm, *slot);
    done(std::move(launched));
  });
}

void MicroVmHost::Invoke(VmId vm, SharedRequest request, AnswerDone done) {
  const auto slot = Find(vm);
  if (!slot) {
    done(Unanswered(FunctionOutcome::Kind::kCrashed, NoSuchVm(vm).value().Message()));
    return;
  }
  Enqueue(slot, [this, vm, slot, request = std::move(request), done = std::move(done)] {
    auto answer = slot->vm.Invoke(*request);
    if (answer.outcome.kind == FunctionOutcome::Kind::kLaunchFailed) Remove(vm, *slot);
    done(std::move(answer));
    RecordWhereWanted(*slot);
  });
}

void MicroVmHost::Reset(VmId vm, StatusDone done) {
  const auto slot = Find(vm);
  if (!slot) {
    done(NoSuchVm(vm));
    return;
  }
  Enqueue(slot, [slot, done = std::move(done)] { done(slot->vm.Reset()); });
}

void MicroVmHost::Destroy(VmId vm, std::function<void()> done) {
  const auto slot = Find(vm);
  if (!slot) {
    done();
    return;
  }
  slot->vm.Interrupt();
  Enqueue(slot, [this, vm, slot, done = std::move(done)] {
    Remove(vm, *slot);
    done();
  });
}

void MicroVmHost::RecordWhereWanted(Slot& slot) {
  if (!slot.vm.WantsRecording()) return;
  auto recording = slot.vm.Record();
  if (!recording) return;
  // The disk is slow, and the microVM has nothing to do with it.
  auto shared = std::make_shared<HostedVm::Recording>(std::move(*recording));
  workers_->Run([shared] { shared->claim->Keep(shared->set); });
}

pid_t MicroVmHost::pid(VmId vm) {
  const auto slot = Find(vm);
  return slot ? slot->vm.pid() : 0;
}

Result<NodeView::LogPiece> MicroVmHost::ReadLog(const std::string& function, std::optional<uint64_t> from,
                                                uint64_t max_bytes) {
  auto log = logs_.Of(function);
  if (!log) return Forward(log.error());
  return (*log)->Read(from, max_bytes);
}

void MicroVmHost::Stop() {
  std::call_once(stopping_, [this] {
    std::map<VmId, SharedSlot> slots;
    {
      const std::lock_guard lock(mutex_);
      is_stopped_ = true;
      slots = slots_;
    }
    for (const auto& [vm, slot] : slots) Destroy(vm, [] {});
    spawner_.EndAll();
    if (pool_) pool_->Stop();
    if (workers_) workers_->Finish();
  });
}

}  // namespace snapfaas::node
