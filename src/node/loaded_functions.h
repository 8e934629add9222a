// LoadedFunctions: the FunctionStore of the node. Runtimes, base snapshots and function snapshots are in memory once,
// for as long as a prepared function needs them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "faas/spawner.h"
#include "node/function_store.h"
#include "node/runtime_access.h"
#include "wire/messages.h"

namespace snapfaas::node {

class LoadedFunctions : public FunctionStore {
 public:
  // REQUIRES: the spawner outlives it.
  LoadedFunctions(SnapshotHome home, faas::Spawner& spawner, wire::RestoreMode mode);
  LoadedFunctions(const LoadedFunctions&) = delete;
  LoadedFunctions& operator=(const LoadedFunctions&) = delete;
  ~LoadedFunctions() override;

  Status Prepare(const PreparedFunction& function) override;
  Status TakeFunctionSnapshot(const std::string& key) override;
  bool HasFunctionSnapshot(const std::string& key) override;
  void Forget(const std::string& key) override;
  Result<Launchable> Open(const std::string& key) override;
  void GiveUpFunctionSnapshot(const std::string& key, const Error& why) override;
  std::vector<faas::ShellKind> ShellKinds() override;
  Result<wire::PrimeCommand> OpenPrimeImages(const faas::ShellKind& kind) override;

 private:
  struct Runtime;
  struct Loaded;
  struct Base;
  struct Function;
  class Claim;
  using BaseKey = std::tuple<std::string, uint32_t, uint32_t>;

  Result<std::shared_ptr<Runtime>> UseRuntime(const std::string& name);
  Result<std::shared_ptr<Base>> UseBase(const PreparedFunction& function);
  Result<std::shared_ptr<Loaded>> UseFunctionSnapshot(const Function& function, Layer layer);
  std::shared_ptr<Function> Find(const std::string& key);
  static void LearnFrom(Base& base, Loaded& function);

  const SnapshotHome home_;
  faas::Spawner& spawner_;
  const wire::RestoreMode mode_;

  // Held while something is loaded or taken: no two do it for the same snapshot, nor fill the memory together.
  std::mutex loading_;
  std::mutex taking_;

  std::mutex mutex_;  // guards what follows, and each function's `layer`; taken after the above
  std::map<std::string, std::shared_ptr<Function>> functions_;
  // Shared by the functions that need them, and gone with the last of these.
  std::map<std::string, std::weak_ptr<Runtime>> runtimes_;
  std::map<BaseKey, std::weak_ptr<Base>> bases_;
  std::map<std::string, std::weak_ptr<Loaded>> layers_;  // by base and image
};

}  // namespace snapfaas::node
