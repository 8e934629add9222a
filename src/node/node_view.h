// NodeView: what the node tells about itself, for the native API, the metrics and `snapfaas ps`. Each call gives a
// consistent picture of one moment. From any thread; may wait for a moment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace snapfaas::node {

struct VmInfo {
  uint64_t id = 0;
  int64_t pid = 0;
  std::string function;
  std::string version;
  std::string state;  // starting, busy, idle, resetting, ending
  uint32_t memory_mib = 0;
  uint32_t vcpus = 0;
  double age_seconds = 0;
  double state_seconds = 0;  // since it has been in this state
  uint64_t requests = 0;     // answered
};

struct SnapshotInfo {
  std::string folder;
  std::string runtime;
  std::string function;  // the hash of its image; empty: a base snapshot
  uint32_t memory_mib = 0;
  uint32_t vcpus = 0;
  uint64_t disk_bytes = 0;
  bool is_usable = true;
  std::string problem;  // why it is not
  int64_t last_use_unix_ms = 0;
};

struct RuntimeInfo {
  std::string name;
  std::string version;  // of the language; may be empty
  std::string kernel;
  std::vector<std::string> lambda_names;  // runtime names of AWS that it stands in for
};

struct NodeCounts {
  uint64_t invocations = 0;  // answered by functions, errors included
  uint64_t errors = 0;       // of functions
  uint64_t timeouts = 0;
  uint64_t throttles = 0;
  uint64_t launches = 0;  // microVMs restored
  uint64_t launch_failures = 0;
  uint64_t evictions = 0;           // idle microVMs that made room
  uint64_t expirations = 0;         // idle microVMs that were idle for too long
  uint64_t idle_hits = 0;           // requests that found an idle microVM
  uint64_t shells_started = 0;      // VMMs prepared beforehand
  uint64_t shells_starting_ms = 0;  // what these took, all together
  uint64_t shells_missing = 0;      // launches that found none prepared
};

struct NodeInfo {
  std::string state;  // running, draining
  uint64_t memory_budget_mib = 0;
  uint64_t memory_reserved_mib = 0;
  uint64_t vms_busy = 0;
  uint64_t vms_idle = 0;
  uint64_t vms_starting = 0;
  uint64_t requests_queued = 0;
  uint64_t requests_running = 0;
  uint64_t events_waiting = 0;  // asynchronous ones
  double uptime_seconds = 0;
  NodeCounts counts;
};

// Something that happened: a line of the event stream.
struct NodeEvent {
  int64_t unix_ms = 0;
  std::string kind;  // deployed, deploy-failed, removed, vm-started, vm-ended, evicted, invoked, throttled
  std::string json;  // an object with the particulars
};

class NodeView {
 public:
  using EventSink = std::function<void(const NodeEvent& event)>;

  virtual ~NodeView() = default;

  virtual NodeInfo Info() = 0;
  virtual std::vector<VmInfo> Vms() = 0;
  virtual Result<std::vector<SnapshotInfo>> Snapshots() = 0;
  virtual Result<std::vector<RuntimeInfo>> Runtimes() = 0;

  // The last `max_bytes` of a function's log. `from` is where the last read ended, for following: 0 at first.
  struct LogPiece {
    std::string text;
    uint64_t next = 0;
  };
  virtual Result<LogPiece> ReadLog(const std::string& function, std::optional<uint64_t> from, uint64_t max_bytes) = 0;

  // Calls `sink`, on any thread and briefly, for each event until what is returned is destroyed.
  virtual std::shared_ptr<void> Subscribe(EventSink sink) = 0;
};

}  // namespace snapfaas::node
