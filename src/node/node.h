// Node: all parts of a serverless node but its gateway, put together.
//
//   Open ──> running ──Drain──> draining ──> drained ──> destroyed
//
// It owns one state folder: registry, code, images and logs. With the data folder, which has runtimes and snapshots and
// may be shared by several nodes, that is all that a node keeps, and it outlives the node however that ends.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/controller.h"
#include "faas/request_manager.h"
#include "faas/thread_timekeeper.h"
#include "node/deployer.h"
#include "node/deployment_service.h"
#include "node/event_dispatcher.h"
#include "node/event_hub.h"
#include "node/function_invoker.h"
#include "node/microvm_host.h"
#include "node/node_config.h"
#include "node/node_view.h"
#include "registry/code_store.h"
#include "registry/registry.h"
#include "registry/runtimes.h"

namespace snapfaas::node {

// A line for the node's own log, from any thread.
using LogLine = std::function<void(std::string_view line)>;

class Node : public NodeView {
 public:
  struct Paths {
    std::filesystem::path data_dir;   // runtimes and snapshots
    std::filesystem::path state_dir;  // all else
    std::filesystem::path vmm;        // the executable
    std::filesystem::path share_dir;  // the runtimes' recipes
  };

  // kUnavailable: another node has the state folder. Returns when everything that was deployed can be served.
  static Result<std::unique_ptr<Node>> Open(const Paths& paths, const NodeConfig& config, LogLine log,
                                            FunctionInvoker::Observe observe);

  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() override;

  registry::Registry& registry() { return *registry_; }
  registry::CodeStore& code() { return *code_; }
  Deployments& deployments() { return *deployments_; }
  Invoker& invoker() { return *invoker_; }
  EventAcceptor& events() { return *dispatcher_; }

  // Takes no more work, lets what is under way end until the deadline, then ends it, and all microVMs. Events that wait
  // stay in the queue.
  void Drain(int64_t deadline_ns);

  NodeInfo Info() override;
  std::vector<VmInfo> Vms() override;
  Result<std::vector<SnapshotInfo>> Snapshots() override;
  Result<std::vector<RuntimeInfo>> Runtimes() override;
  Result<LogPiece> ReadLog(const std::string& function, std::optional<uint64_t> from, uint64_t max_bytes) override;
  std::shared_ptr<void> Subscribe(EventSink sink) override;

 private:
  Node(Paths paths, NodeConfig config, LogLine log);

  Status OpenStores();
  Status StartParts(FunctionInvoker::Observe observe);
  void WaitUntilServed();
  std::shared_ptr<void> ReserveForWork(const faas::VmSize& size);
  void OnVmEvent(const faas::Controller::VmEvent& event);
  // Runs `function` on the Timekeeper's thread and waits.
  void OnThread(const std::function<void()>& function);

  const Paths paths_;
  const NodeConfig config_;
  const LogLine log_;
  const int64_t started_ns_;
  std::atomic<bool> draining_ = false;

  // In the order of what stands on what: each part goes before those it uses.
  registry::Runtimes runtimes_;
  UniqueFd lock_;
  PosixFileSystem files_;
  EventHub hub_;
  std::unique_ptr<registry::Registry> registry_;
  std::unique_ptr<registry::CodeStore> code_;
  std::optional<Deployer> deployer_;
  std::unique_ptr<MicroVmHost> host_;
  std::unique_ptr<faas::ThreadTimekeeper> timekeeper_;
  std::unique_ptr<faas::Controller> controller_;
  std::unique_ptr<faas::RequestManager> requests_;
  std::unique_ptr<FunctionInvoker> invoker_;
  std::unique_ptr<EventDispatcher> dispatcher_;
  std::unique_ptr<DeploymentService> deployments_;
};

// What microVMs may take of this host's memory when the configuration leaves it open: most of what is available now.
uint64_t SpareMemoryMib();

}  // namespace snapfaas::node
