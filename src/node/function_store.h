// FunctionStore: what microVMs of deployed functions are restored from. The node's is loaded_functions.h; tests play
// it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/launcher.h"
#include "faas/shell_pool.h"
#include "faas/spawner.h"
#include "snapshot/working_set.h"
#include "wire/messages.h"

namespace snapfaas::node {

// A function version that is to be made ready to run.
struct PreparedFunction {
  std::string key;      // FunctionSpec::key
  std::string runtime;  // of our names, e.g. "python3"
  faas::VmSize size;
  std::filesystem::path image;
  bool use_function_snapshot = true;  // once there is one
};

// Given to the microVM whose first answer is to show which pages a snapshot's microVMs need. Destroyed without Keep, it
// goes to the next one.
class WorkingSetClaim {
 public:
  virtual ~WorkingSetClaim() = default;
  // Blocks on the disk.
  virtual void Keep(const snapshot::WorkingSet& set) = 0;
};

// For one microVM.
struct Launchable {
  faas::RestoreImages images;
  UniqueFd appfs;
  bool is_function_snapshot = false;
  std::unique_ptr<WorkingSetClaim> working_set;  // absent: there is one, or another microVM has the claim
};

// What a deployment asks of it. Every function may be called from any thread.
class FunctionPreparer {
 public:
  virtual ~FunctionPreparer() = default;

  // Loads what the function needs, and takes its base snapshot where it is missing. Where it has a snapshot of its own
  // already and is to use it, launches do from now on. Blocks, for as long as a boot takes.
  virtual Status Prepare(const PreparedFunction& function) = 0;

  // Has launches use the function's own snapshot from now on, which is taken where it is missing. Blocks, and is in
  // nobody's way. kNotFound: not prepared; kGuestError: the function cannot be loaded.
  virtual Status TakeFunctionSnapshot(const std::string& key) = 0;

  // Whether launches use it.
  virtual bool HasFunctionSnapshot(const std::string& key) = 0;

  // Frees what no other function needs.
  virtual void Forget(const std::string& key) = 0;
};

// Every function may be called from any thread.
class FunctionStore : public FunctionPreparer {
 public:
  // kNotFound: not prepared.
  virtual Result<Launchable> Open(const std::string& key) = 0;

  // The function's own snapshot has turned out to be of no use: launches from now on use the base.
  virtual void GiveUpFunctionSnapshot(const std::string& key, const Error& why) = 0;

  // The kinds of shells that the prepared functions are launched in, and what these are primed with.
  virtual std::vector<faas::ShellKind> ShellKinds() = 0;
  virtual Result<wire::PrimeCommand> OpenPrimeImages(const faas::ShellKind& kind) = 0;
};

}  // namespace snapfaas::node
