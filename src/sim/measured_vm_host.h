// MeasuredVmHost: a VmHost whose microVMs are nothing but time: each launch, request, reset and end takes what it took
// on a real machine, and shares the simulated machine's processors with all the others.
//
// A restore takes a waiting VMM (shell), as the node's pool has them (faas/shell_pool.h): some of each kind, prepared
// one after the other, but not while a microVM is being restored. Where none waits, the launch takes the one that is
// being prepared, else it costs what a launch in a VMM of its own does.
//
// Lives on the Timekeeper's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "faas/timekeeper.h"
#include "faas/vm_host.h"
#include "sim/costs.h"
#include "sim/processors.h"
#include "sim/random.h"

namespace snapfaas::sim {

class MeasuredVmHost : public faas::VmHost {
 public:
  struct Options {
    LaunchKind launch = LaunchKind::kFunctionSnapshot;  // not a bare one: shells decide that
    size_t shells_per_kind = 2;
    size_t max_shells = 8;
    uint64_t seed = 1;
  };

  struct Counts {
    uint64_t shells_started = 0;  // beforehand
    uint64_t shells_missing = 0;  // launches that found none waiting
  };

  // REQUIRES: all outlive it.
  MeasuredVmHost(faas::Timekeeper& timekeeper, Processors& processors, const Costs& costs, const Options& options);

  // Before the first launch of a function: what it takes. Shells of its kind wait from now on, as many as there is room
  // for. REQUIRES: the costs outlive the host, and have such launches.
  void Prepare(const faas::FunctionSpec& spec, const FunctionCosts& costs);

  // An event that is a number is what the request takes in its microVM, in milliseconds; else the costs say it.
  void LaunchAndInvoke(faas::VmId vm, const faas::FunctionSpec& spec, faas::SharedRequest request,
                       std::function<void()> loaded, AnswerDone done) override;
  void Launch(faas::VmId vm, const faas::FunctionSpec& spec, StatusDone done) override;
  void Invoke(faas::VmId vm, faas::SharedRequest request, AnswerDone done) override;
  void Reset(faas::VmId vm, StatusDone done) override;
  void Destroy(faas::VmId vm, std::function<void()> done) override;

  const Counts& counts() const { return counts_; }

 private:
  struct ShellKind {
    faas::VmSize size;
    size_t ready = 0;
    bool is_starting = false;
    Processors::ActivityId preparation = 0;  // the last
    std::function<void()> taker;             // who waits for the one that is being prepared
  };

  struct Vm {
    faas::FunctionSpec spec;
    const FunctionCosts* costs = nullptr;
    std::optional<Processors::ActivityId> activity;
    std::optional<faas::Timekeeper::TimerId> time_limit;
    ShellKind* awaited = nullptr;
    bool holds_refill = false;
    // What is to be told that it was destroyed.
    std::function<void()> interrupted;
    faas::RequestTimings timings;
    int64_t phase_began_ns = 0;
    bool was_reset = false;
  };

  Vm& Make(faas::VmId id, const faas::FunctionSpec& spec);
  // Has it restored or booted, and its function loaded.
  void Start(faas::VmId id, Vm& vm, std::function<void(const LaunchEffort& effort)> loaded);
  void TakeShell(faas::VmId id, Vm& vm, std::function<void(LaunchKind kind)> taken);
  void Restore(faas::VmId id, LaunchKind kind, std::function<void(const LaunchEffort& effort)> loaded);
  // `effort`: as measured.
  void Run(faas::VmId id, Vm& vm, Effort effort, const faas::FunctionRequest& request, AnswerDone done);
  void Begin(faas::VmId id, Vm& vm, const Effort& effort, std::function<void(Vm& vm)> done);
  double EndPhase(Vm& vm);
  void ReleaseRefill(Vm& vm);

  ShellKind& Use(const faas::VmSize& size);
  size_t ShareOf(const ShellKind& kind) const;
  void Refill();

  faas::Timekeeper& timekeeper_;
  Processors& processors_;
  const Costs& costs_;
  const Options options_;
  Random random_;
  std::unordered_map<std::string, const FunctionCosts*> functions_;  // by key
  std::unordered_map<faas::VmId, Vm> vms_;
  std::list<ShellKind> kinds_;  // the one used last comes first
  size_t refill_holds_ = 0;
  bool is_refilling_ = false;
  Counts counts_;
};

}  // namespace snapfaas::sim
