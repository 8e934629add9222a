// Controller (the poster's): which microVM a request goes to, and which must go to make room. Owns the memory budget
// and the books of all microVMs; makes and ends them through a VmHost.
//
//        Allocate                    memory, and a request              Free
//   ────────────────> starting ─────────────────────────────> busy ───────────────┬──────────> idle
//     new microVM        │                                     ^                  │             │ ^
//                        │ spare: launched without a request   │   Isolation::kReset, used     │ │
//                        └─────────────────────> idle          │                  v             │ │
//                                                              │              resetting ────────│─┘
//                                                              └──────────Allocate──────────────┘
//   from all of them: ending ──> gone, and the memory is given back: not before VmHost::Destroy is done
//
// Allocate(spec) gives an idle microVM of that key, the one used last first; else a new one where the budget allows it;
// else it ends idle ones, of any function, the one unused for longest first, and the new one begins when their memory
// is back; else nothing, and `on_capacity` is called when it is worth another try.
//
// Only so many launches are under way at a time. Each is work for a CPU: more of them at once would only make one
// another slower, and every request that comes meanwhile would ask for another one, though a microVM that is there
// would have answered it sooner.
//
// What a request left in a microVM with Isolation::kReset is gone before the microVM is idle. A microVM that failed in
// any way, was retired, or whose lease was lost with a request in it is ended, never used again. A launch that fails is
// tried once more, with a new VmId; then the answer is kLaunchFailed. A request that finds its idle microVM ended gets
// a new one in its place.
//
// Everything runs on the Timekeeper's thread, callbacks too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "faas/function_spec.h"
#include "faas/memory_budget.h"
#include "faas/spare_planner.h"
#include "faas/timekeeper.h"
#include "faas/vm_host.h"

namespace snapfaas::faas {

enum class VmState { kStarting, kIdle, kBusy, kResetting, kEnding };
const char* VmStateName(VmState state);  // "starting", ...

class Controller {
 public:
  struct Options {
    uint64_t budget_mib = 1024;
    uint32_t overhead_mib = 16;                                // what a microVM takes beside its own memory
    int64_t idle_ttl_ns = 600'000'000'000;                     // an idle microVM ends after so long
    int64_t launch_allowance_ns = 60'000'000'000;              // a spare that is not ready after so long is ended
    int64_t reset_allowance_ns = 10'000'000'000;               // the same of a reset
    size_t max_launches = std::numeric_limits<size_t>::max();  // under way at a time; at least 1
    // A launch that takes longer counts no more: its microVM hangs, or its function waits for something.
    int64_t longest_launch_ns = 2'000'000'000;
    // Spares for functions with a rhythm are launched so long before they are due; nothing: no spares.
    std::optional<int64_t> spare_lead_ns = std::nullopt;
  };

  // What is told to who constructed it, for a log of events. Each microVM's end with kGone, also one that failed to
  // launch.
  enum class VmEventKind { kLaunching, kEvicted, kExpired, kGone };
  struct VmEvent {
    VmEventKind kind;
    VmId vm;
    const FunctionSpec& spec;
  };

  enum class Effort {
    kIdleOnly,  // only a microVM that is there
    kMakeRoom,  // or a new one, also at the cost of idle ones
    kInsist,    // the same, and what is busy now and becomes free goes to it before anybody else, the next launch too
  };
  enum class Usability { kUsable, kUnusable };
  using Handle = uint64_t;

  // A microVM lent for one request. REQUIRES: does not outlive the Controller.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : controller_(std::exchange(other.controller_, nullptr)), vm_(other.vm_) {}
    Lease& operator=(Lease&& other) noexcept;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    // Not given back: without a request in it the microVM is idle again, else it ends.
    ~Lease() { Drop(nullptr); }

    // How the request came to this microVM. From `started` on.
    StartKind start() const;

    // `started`, maybe from within the call, when the request is on its way; it may wait for memory before. `done`,
    // later, with the answer: then give the lease back. REQUIRES: the first call.
    void Invoke(SharedRequest request, std::function<void()> started, VmHost::AnswerDone done);

    // Ends the microVM, whatever it does: `done` of Invoke does not come any more, but `gone` when nothing is left.
    void Abandon(std::function<void()> gone);

   private:
    friend class Controller;
    Lease(Controller& controller, Handle vm) : controller_(&controller), vm_(vm) {}
    void Drop(std::function<void()> gone);

    Controller* controller_;
    Handle vm_;
  };

  struct VmInfo {
    VmId id = 0;
    std::string function;
    std::string version;
    VmState state = VmState::kStarting;
    VmSize size;
    int64_t launched_ns = 0;
    int64_t since_ns = 0;   // it is in this state
    uint64_t requests = 0;  // answered
  };

  struct Counts {
    uint64_t launches = 0;         // second tries and spares too
    uint64_t launch_failures = 0;  // each try
    uint64_t resets = 0;
    uint64_t reset_failures = 0;
    uint64_t evictions = 0;
    uint64_t expirations = 0;
    uint64_t idle_hits = 0;    // requests that found an idle microVM
    uint64_t idle_losses = 0;  // of these, microVMs that turned out to have ended
    uint64_t spares = 0;
  };

  // REQUIRES: Timekeeper and host outlive it. Destroy it on the thread, or when the thread has ended.
  Controller(Timekeeper& timekeeper, VmHost& host, const Options& options,
             std::function<void(const VmEvent& event)> on_event = nullptr);
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;
  ~Controller();

  // Memory, a launch or an idle microVM is to be had where there was none. Posted, so never from within a call.
  void SetOnCapacity(std::function<void()> on_capacity) { on_capacity_ = std::move(on_capacity); }

  // kResourceExhausted, naming the sizes: the whole budget is too small for a microVM of this function.
  Status CheckFits(const FunctionSpec& spec) const;

  std::optional<Lease> Allocate(const FunctionSpec& spec, Effort effort);
  void Free(Lease lease, Usability usability);

  // A request for this function came in, whatever becomes of it: its rhythm, for spares.
  void NoteArrival(const FunctionSpec& spec);

  // Memory for a microVM that serves nobody, such as one that a snapshot is taken of. Nothing while a request is in
  // line for memory; where idle microVMs have it, they are ended, unused for longest first: then it is to be had soon.
  std::optional<MemoryBudget::Reservation> ReserveForWork(const VmSize& size);
  void EndWork(MemoryBudget::Reservation reservation);

  // Idle microVMs of this key, or of all keys of this function, end now, busy ones when they are given back.
  void RetireKey(const std::string& key);
  void RetireFunction(const std::string& function);

  // Ends everything: what is idle now, what is lent when it is given back; then calls `done`. REQUIRES: the first call,
  // and no Allocate from now on.
  void Drain(std::function<void()> done);

  std::vector<VmInfo> List() const;  // by age
  size_t CountVms(VmState state) const;
  const Counts& counts() const { return counts_; }
  const MemoryBudget& budget() const { return budget_; }

 private:
  struct Vm;
  using IdleOrder = std::map<uint64_t, Vm*>;  // in the order in which they became idle

  uint64_t CostMib(const FunctionSpec& spec) const { return uint64_t{spec.size.memory_mib} + options_.overhead_mib; }
  // What nobody has and nobody is to get, once everything that is ending has ended; negative while somebody insists.
  int64_t UncommittedMib() const;
  Vm* Find(Handle handle);
  bool MayAskForLaunch(Effort effort) const;
  // Makes a microVM's books, in line for memory and its launch.
  Vm* MakeRoomFor(const FunctionSpec& spec, Effort effort);
  void EvictToFit();
  void Evict();  // the one unused for longest. REQUIRES: there is an idle one
  void ServeClaims();

  void Invoke(Vm& vm, SharedRequest request, std::function<void()> started, VmHost::AnswerDone done);
  void Send(Vm& vm);
  void TakeOver(Vm& claim, Vm& idle);
  void LaunchIfReady(Vm& vm);
  void Launch(Vm& vm);
  void EndLaunch(Vm& vm);
  void OnLaunchAnswer(Vm& vm, VmHost::Answer answer);
  void OnInvokeAnswer(Vm& vm, VmHost::Answer answer);
  void OnAnswer(Vm& vm, VmHost::Answer answer);
  void OnSpareLaunched(Vm& vm, const Status& status);
  void OnSpareDue(const FunctionSpec& spec);
  void OnReset(Vm& vm, const Status& status);
  void OnDestroyed(Vm& vm);

  void Reset(Vm& vm);
  void BecomeIdle(Vm& vm);
  void TakeFromIdle(Vm& vm);
  void End(Vm& vm);
  void Forget(Vm& vm);
  void Retire(const std::function<bool(const FunctionSpec& spec)>& matches);

  void SetState(Vm& vm, VmState state);
  void SetTimer(Vm& vm, int64_t after_ns, void (Controller::*then)(Vm& vm));
  void CancelTimer(Vm& vm);
  void OnExpired(Vm& vm);
  void NotifyCapacity();
  void Tell(VmEventKind kind, const Vm& vm);
  // Wraps what is to happen to this microVM when the host has done something; nothing happens when it is gone by then.
  template <typename... Args>
  std::function<void(std::decay_t<Args>...)> OnThread(const Vm& vm, void (Controller::*then)(Vm& vm, Args... args));

  Timekeeper& timekeeper_;
  VmHost& host_;
  const Options options_;
  const std::function<void(const VmEvent&)> on_event_;
  std::function<void()> on_capacity_;
  bool capacity_noted_ = false;
  std::function<void()> drained_;
  bool is_draining_ = false;

  MemoryBudget budget_;  // outlives the microVMs' reservations
  uint64_t ending_mib_ = 0;
  uint64_t claimed_mib_ = 0;
  std::list<Vm*> claims_;  // in line for memory and a launch
  size_t launches_ = 0;    // under way

  Handle last_handle_ = 0;
  VmId last_id_ = 0;
  std::map<Handle, std::unique_ptr<Vm>> vms_;
  IdleOrder idle_;
  std::unordered_map<std::string, IdleOrder> idle_by_key_;  // no entry without a microVM
  uint64_t idle_mib_ = 0;
  uint64_t last_idle_ = 0;

  std::optional<SparePlanner> spares_;
  Counts counts_;
  const std::shared_ptr<char> alive_ = std::make_shared<char>();  // for what is posted: is it too late?
};

}  // namespace snapfaas::faas
