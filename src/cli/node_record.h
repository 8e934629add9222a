// <state>/run.json: which process the node of a state folder is, and where it answers. Written by `snapfaas up`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "host/process.h"

namespace snapfaas::cli {

struct NodeRecord {
  host::ProcessId process;  // of snapfaasd, or of what holds it in the emulated host
  std::string address;      // numeric
  uint16_t port = 0;
  bool is_emulated = false;
  bool started_host = false;  // the emulated host runs for this node: it goes with it
  int64_t started_unix = 0;   // seconds

  std::string Url() const;
};

// Nothing when there is no record, or its process is gone: that one is removed then.
std::optional<NodeRecord> FindNode(const std::filesystem::path& state_dir);
Status SaveNode(const std::filesystem::path& state_dir, const NodeRecord& record);
void ForgetNode(const std::filesystem::path& state_dir);

}  // namespace snapfaas::cli
