// snapfaas runtime build and snapshot: images of several runtimes at a time, their base snapshots one after the other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/vm_options.h"

namespace snapfaas::cli {

enum class Force { kNo, kYes };  // make anew what is up to date, too

struct RuntimeBuildOptions {
  std::vector<std::string> names;
  WantedVmSize size;
  Force force = Force::kNo;
  unsigned jobs = 0;  // images at a time; 0: the number of processors
};

// Runs `make` for each name, `jobs` at a time, and `then`, on the calling thread and for one name at a time, for each
// that was made, as soon as it was. What fails is told to `fail` (one at a time) and does not stop the others. Returns
// the names that failed, sorted.
std::vector<std::string> RunBuilds(const std::vector<std::string>& names, unsigned jobs,
                                   const std::function<Status(const std::string& name)>& make,
                                   const std::function<Status(const std::string& name)>& then,
                                   const std::function<void(const std::string& name, const Error& error)>& fail);

// Does nothing for what is there. The exit code is kExitFailure when one of them failed, which was said by then.
Result<int> BuildRuntimes(const RuntimeBuildOptions& options, const Context& context);

// Takes the base snapshot of a runtime that is built, here or in the emulated host.
Result<int> TakeBaseSnapshot(const std::string& name, const WantedVmSize& size, Force force, const Context& context);

}  // namespace snapfaas::cli
