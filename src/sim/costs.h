// Costs: what the phases of a request take on some machine, as measured or as supposed. docs/simulator.md has the forms
// of the files that they come from.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/processors.h"
#include "sim/random.h"

namespace snapfaas::sim {

// How long something takes. Never negative.
class Times {
 public:
  Times() : Times(std::vector<double>()) {}
  // One of these, each as likely as the others, or as its weight says: as many, above 0.
  explicit Times(std::vector<double> millis, const std::vector<double>& weights = {});
  // A log-normal distribution. REQUIRES: 0 < median <= p99.
  static Times LogNormal(double median_ms, double p99_ms);

  bool empty() const { return samples_.empty() && !is_log_normal_; }
  const std::vector<double>& samples() const { return samples_; }

  // The index of one of the samples. REQUIRES: there are any.
  size_t Draw(Random& random) const;
  // 0 where it is empty.
  double Millis(Random& random) const;

 private:
  std::vector<double> samples_;
  std::vector<double> summed_weights_;  // up to each sample; empty where all weigh the same
  bool is_log_normal_ = false;
  double log_median_ = 0;
  double sigma_ = 0;
};

struct PhaseCost {
  Times times;
  double cpu = 1;  // the share that is work for a CPU; the rest is waiting

  Effort Sample(Random& random) const { return EffortOf(times.Millis(random)); }
  Effort EffortOf(double millis) const { return {millis * cpu * 1e6, millis * (1 - cpu) * 1e6}; }
};

// How a microVM comes to be.
enum class LaunchKind {
  kFunctionSnapshot,      // restored from its function's snapshot, in a VMM that waited
  kFunctionSnapshotBare,  // the same in a VMM that had to be started first
  kBaseSnapshot,          // restored from its runtime's snapshot; the function is loaded then
  kBaseSnapshotBare,
  kBoot,  // booted
};
inline constexpr size_t kLaunchKinds = 5;
std::string_view NameOf(LaunchKind kind);  // as in a file of costs: "restored", "restored_bare", "cold", ...

struct LaunchEffort {
  Effort start;
  Effort load;
  Effort run;
};

// Where all three have as many samples they are of the same launches, and are drawn together.
struct LaunchCosts {
  PhaseCost start;  // the restore or the boot
  PhaseCost load;   // of the function
  PhaseCost run;    // the first request

  LaunchEffort Sample(Random& random) const;
};

struct FunctionCosts {
  PhaseCost run;  // a request in a microVM that has served some
  std::array<std::optional<LaunchCosts>, kLaunchKinds> launches;

  const std::optional<LaunchCosts>& Of(LaunchKind kind) const { return launches[static_cast<size_t>(kind)]; }
  std::optional<LaunchCosts>& Of(LaunchKind kind) { return launches[static_cast<size_t>(kind)]; }
};

// A machine on which nobody has worked for so long has to warm up: caches are cold and processors asleep.
inline constexpr double kRestMs = 200;

struct Costs {
  // Of each request, outside its microVM: half of it before it is queued, half after its answer. Short steps of several
  // threads.
  PhaseCost overhead;
  double warm_up_ms = 0;                           // of a request that comes after a rest, on top of it
  FunctionCosts any;                               // functions that are not named
  std::map<std::string, FunctionCosts> functions;  // by name; complete, like `any`
  PhaseCost reset;
  PhaseCost destroy;
  PhaseCost shell;  // a VMM that is prepared beforehand
  // Of the work of each phase, what goes before other work where there are too few CPUs. Unless it was measured, half
  // of Linux's scheduling latency for one CPU, which is what a thread has ahead of others that has just been woken.
  double head_start_ms = 3;
  std::optional<double> cpus;  // of the machine

  const FunctionCosts& Of(const std::string& function) const;
};

// A file's content, and its name in messages.
struct CostsFile {
  std::string text;
  std::string name;
};

// Half of a run: of parts of so many seconds every second one, from the first on or from the second on.
struct Half {
  double part_seconds = 1;
  bool is_later = false;

  bool Has(double at_ms) const;
};

// One file in the simulator's own form, or the results of `snapfaas bench load`, one or several: the requests of that
// half alone, where there is one. What they lack, launches above all, is from `other`, results of another `snapfaas
// bench load`. kInvalidArgument: "FILE: what is wrong and how to mend it".
Result<Costs> ParseCosts(const std::vector<CostsFile>& files, const std::optional<Half>& half = std::nullopt,
                         const std::optional<CostsFile>& other = std::nullopt);

// Adds what launches take that find no VMM waiting: the results of `snapfaas bench load` against a node that keeps none
// (shells = 0).
Status AddBareCosts(const CostsFile& file, Costs& costs);
// Adds what boots take: the results of `snapfaas bench breakdown`.
Status AddBootCosts(const CostsFile& file, Costs& costs);

}  // namespace snapfaas::sim
