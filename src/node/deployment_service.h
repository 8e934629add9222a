// DeploymentService: makes what the registry has taken ready to run, one version after the other, on a thread of its
// own.
//
//   Start ──> image ──> FunctionPreparer::Prepare ──> Registry::FinishDeployment ──> the old one is retired
//                │              │                                                        │
//                └────failed────┴──> Registry::FailDeployment                            v
//                                                          in the background: the function's snapshot
//
// A function's snapshot is nothing that anybody waits for: until it is there, microVMs are restored from the base
// snapshot, and where it cannot be taken they go on to be.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "images/runtimefs.h"
#include "node/deployer.h"
#include "node/deployments.h"
#include "node/event_hub.h"
#include "node/function_invoker.h"
#include "node/function_store.h"
#include "node/worker.h"
#include "registry/code_store.h"
#include "registry/registry.h"

namespace snapfaas::node {

class DeploymentService : public Deployments {
 public:
  struct Options {
    uint32_t vcpus = 1;
    ArnParts arn;
    bool function_snapshots = true;
    registry::Runtimes runtimes = {};
  };
  struct Parts {
    registry::Registry& registry;
    registry::CodeStore& code;
    Deployer& deployer;
    FunctionPreparer& store;
    EventHub& events;
    // kNotFound: this runtime of ours is not built.
    std::function<Result<images::RuntimeImages>(const std::string& runtime)> open_runtime;
    // The microVMs of a key are of no more use.
    std::function<void(const std::string& key)> retire;
    // Memory of the budget for a microVM that a snapshot is taken of, for as long as the object lives. Blocks until
    // there is some; nothing when the node is about to stop.
    std::function<std::shared_ptr<void>(const faas::VmSize& size)> reserve;
    // Takes a line for the node's log.
    std::function<void(const std::string& line)> log;
  };

  // REQUIRES: all parts outlive it.
  DeploymentService(Parts parts, Options options);
  DeploymentService(const DeploymentService&) = delete;
  DeploymentService& operator=(const DeploymentService&) = delete;
  ~DeploymentService() override { Stop(); }

  // After a start of the node: what is deployed is prepared, what was under way is begun again. In the background;
  // `served` is called on the thread when all that is deployed can be served.
  void Recover(std::function<void()> served);

  Status CheckZip(const std::filesystem::path& zip) override;
  const registry::Runtimes& Runtimes() const override { return options_.runtimes; }
  bool HasRuntime(const std::string& runtime) override;
  void Start(const std::string& function, const std::string& version) override;
  bool HasSnapshot(const registry::FunctionVersion& version) override;
  void Removed(const std::string& function, const std::vector<std::string>& versions) override;

  // What is under way is finished, what waits is left for the next start.
  void Stop();

 private:
  using VersionName = std::pair<std::string, std::string>;

  // On the deploying thread.
  void Deploy(const std::string& function, const std::string& version);
  struct Made {
    PreparedFunction function;
    std::string image;  // its hash
    std::shared_ptr<const void> hold;
  };
  Result<Made> Make(const registry::FunctionVersion& version);
  PreparedFunction Prepared(const registry::FunctionVersion& version, const registry::Deployed& deployed,
                            std::filesystem::path image) const;
  void Fail(const registry::FunctionVersion& version, const Error& error);
  void ServeAll();
  void Serve(const registry::FunctionVersion& version);
  bool WantsSnapshot(const registry::FunctionConfig& config) const;
  void Replace(const VersionName& name, const std::string& key);
  void Sweep();

  void TakeSnapshotLater(const registry::FunctionVersion& version, const registry::FunctionConfig& config,
                         const PreparedFunction& function);

  Parts parts_;
  const Options options_;
  std::map<VersionName, std::string> keys_;  // of what is served; the deploying thread's

  Worker snapshots_;
  Worker deploying_;
};

}  // namespace snapfaas::node
