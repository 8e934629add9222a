// NodeConfig: the settings of a node, from one TOML file. Every setting has a value without it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace snapfaas::node {

// The comments that `snapfaas config` prints are in node_config.cc.
struct NodeConfig {
  // [gateway]
  std::string address = "127.0.0.1";
  uint64_t port = 8480;
  uint64_t threads = 2;
  std::string access_key_id;
  std::string secret_access_key;
  std::string region = "us-east-1";
  std::string account = "000000000000";

  // [memory]
  uint64_t budget_mib = 0;
  uint64_t overhead_mib = 8;

  // [microvms]
  uint64_t vcpus = 1;
  uint64_t idle_seconds = 600;
  uint64_t launches = 0;
  uint64_t shells = 2;
  uint64_t shells_in_all = 8;
  bool spares = false;

  // [requests]
  uint64_t queue_per_function = 1000;
  uint64_t queue_in_all = 10'000;
  uint64_t queue_seconds = 30;

  // [events]
  uint64_t events_at_a_time = 16;
  uint64_t event_retries = 2;
  uint64_t event_retry_seconds = 60;
  uint64_t event_hours = 6;

  // [snapshots]
  bool function_snapshots = true;
  uint64_t snapshot_disk_mib = 10'240;

  // [logs]
  uint64_t log_mib = 10;

  bool operator==(const NodeConfig&) const = default;

  // On a machine with so many CPUs.
  uint64_t LaunchesAtATime(double cpus) const;
  bool has_credentials() const { return !access_key_id.empty(); }
};

// kNotFound: no such file. kInvalidArgument names file, line and setting, and says what would be right: a setting that
// nobody knows is an error too.
Result<NodeConfig> LoadNodeConfig(const std::filesystem::path& file);
Result<NodeConfig> ParseNodeConfig(std::string_view toml, std::string_view file_name);

// kInvalidArgument: other machines could reach a node at this numeric address without credentials, or it is no address.
Status CheckReach(const NodeConfig& config, const std::string& address);

// A TOML file with every setting and what it means, which gives this configuration when it is loaded.
std::string PrintNodeConfig(const NodeConfig& config);

}  // namespace snapfaas::node
