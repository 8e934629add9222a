#include "cli/up_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "cli/foreground.h"
#include "cli/host_commands.h"
#include "cli/node_client.h"
#include "cli/node_record.h"
#include "cli/placement.h"
#include "host/emulated_host.h"
#include "host/free_port.h"
#include "node/node_config.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kQuotedLines = 20;
constexpr std::chrono::milliseconds kPoll{50};
// A base snapshot may have to be taken first.
constexpr std::chrono::seconds kStartPatience{600};
// Beyond the grace: microVMs have to be ended, and a busy disk synced.
constexpr std::chrono::seconds kStopPatience{60};

// A node of this machine: the context, and the folder that is the node's own.
struct NodePlace {
  Context context;
  fs::path state_dir;

  fs::path log_file() const { return state_dir / "node.log"; }
};

struct UpOptions {
  std::string config_file;
  std::string address;
  int port = -1;  // -1: as the configuration says
  bool foreground = false;
  bool json = false;
};

void Tell(std::string_view line) { fmt::print(stderr, "snapfaas: {}\n", line); }

// The file that the node reads; empty: none.
std::string ConfigFileOf(const Context& context, const std::string& option) {
  if (!option.empty()) return fs::absolute(option).string();
  const fs::path usual = context.data_dir / "node.toml";
  std::error_code ignored;
  return fs::exists(usual, ignored) ? usual.string() : "";
}

Result<node::NodeConfig> ReadConfig(const std::string& file) {
  if (file.empty()) return node::NodeConfig();
  return node::LoadNodeConfig(file);
}

Result<node::NodeConfig> EffectiveConfig(const UpOptions& options, const std::string& file) {
  auto config = ReadConfig(file);
  if (!config) return config;
  if (!options.address.empty()) config->address = options.address;
  if (config->address == "localhost") config->address = "127.0.0.1";
  if (options.port >= 0) config->port = static_cast<uint64_t>(options.port);
  return config;
}

// What starts the node where microVMs can run.
std::vector<std::string> NodeCommand(const NodePlace& place, const std::string& config_file, const NodeRecord& record) {
  const Context& context = place.context;
  std::vector<std::string> command = {(context.bin_dir / "snapfaasd").string(),
                                      "--data",
                                      context.data_dir.string(),
                                      "--state",
                                      place.state_dir.string(),
                                      "--port",
                                      std::to_string(record.port)};
  if (!config_file.empty()) command.insert(command.end(), {"--config", config_file});
  if (!record.is_emulated) {
    command.insert(command.end(), {"--address", record.address});
    return command;
  }
  // All that reaches it comes through the forwarded port, which this machine opens at the address.
  command.insert(command.end(), {"--address", "0.0.0.0", "--outer-address", record.address});
  std::vector<std::string> outer = {
      (context.bin_dir / "snapfaas").string(), "--data", context.data_dir.string(), "host", "exec", "--emulated"};
  if (!config_file.empty()) outer.insert(outer.end(), {"--share", fs::path(config_file).parent_path().string()});
  outer.insert(outer.end(), {"--share", place.state_dir.string()});
  outer.emplace_back("--");
  outer.insert(outer.end(), command.begin(), command.end());
  return outer;
}

// Starts the emulated host, where it is needed, and leads the node's port there.
Status PrepareHost(const Context& context, NodeRecord& record) {
  if (!record.is_emulated) return {};
  const auto host = HostOf(context);
  const auto before = host.Query();
  if (!before) return Forward(before.error());
  record.started_host = before->state != host::HostStatus::State::kRunning;
  auto started = StartEmulatedHost(context);
  if (!started) return started;
  // A node that was killed has left its forwarding behind.
  auto cleared = host.StopForwarding(record.address, record.port);
  if (!cleared) return cleared;
  return host.ForwardPort(record.address, record.port, record.port);
}

void ReleaseHost(const Context& context, const NodeRecord& record) {
  if (!record.is_emulated) return;
  const auto host = HostOf(context);
  // Both may be gone already.
  [[maybe_unused]] const auto unforwarded = host.StopForwarding(record.address, record.port);
  if (!record.started_host) return;
  [[maybe_unused]] const auto stopped = host.Stop();
}

// Passes on to standard error what the node has logged.
class LogFollower {
 public:
  explicit LogFollower(fs::path file) : file_(std::move(file)) {
    std::error_code failure;
    const auto size = fs::file_size(file_, failure);
    place_ = failure ? 0 : static_cast<std::streamoff>(size);
  }

  void Follow() {
    std::ifstream stream(file_, std::ios::binary);
    stream.seekg(place_);
    for (std::string line; std::getline(stream, line) && !stream.eof();) {
      place_ += static_cast<std::streamoff>(line.size() + 1);
      fmt::print(stderr, "{}\n", line);
    }
  }

 private:
  fs::path file_;
  std::streamoff place_ = 0;
};

bool Answers(const NodeRecord& record) {
  auto client = NodeClient::Connect({record.Url(), false});
  if (!client) return false;
  const auto reply = client->Send({.target = "/healthz", .timeout_seconds = 5});
  return reply && reply->status == 200;
}

Status WaitUntilUp(const NodePlace& place, const NodeRecord& record, LogFollower& log) {
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  while (!Answers(record)) {
    log.Follow();
    if (!host::IsAlive(record.process)) {
      return Fail(ErrorCode::kUnavailable, "the node did not start; the end of {}:\n{}", place.log_file().string(),
                  host::LastLines(place.log_file(), kQuotedLines));
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return Fail(ErrorCode::kTimedOut, "the node at {} does not answer after {} s; its log is {}", record.Url(),
                  kStartPatience.count(), place.log_file().string());
    }
    std::this_thread::sleep_for(kPoll);
  }
  log.Follow();
  return {};
}

nlohmann::json ToJson(const NodeRecord& record) {
  return {{"running", true},
          {"url", record.Url()},
          {"pid", record.process.pid},
          {"accelerator", record.is_emulated ? "emulated-host" : "kvm"},
          {"started_unix", record.started_unix}};
}

void PrintUp(const NodeRecord& record, bool json) {
  if (json) {
    fmt::print("{}\n", ToJson(record).dump());
  } else {
    fmt::print("the node answers at {}{}\n", record.Url(), record.is_emulated ? " (in the emulated host)" : "");
  }
}

Result<int> RunInBackground(const NodePlace& place, NodeRecord record, const std::vector<std::string>& command,
                            bool json) {
  LogFollower log(place.log_file());
  auto process = host::StartDaemon(command, place.log_file());
  if (!process) return Forward(process.error());
  record.process = *process;
  auto saved = SaveNode(place.state_dir, record);
  auto up = saved ? WaitUntilUp(place, record, log) : saved;
  if (!up) {
    host::KillProcess(record.process);
    ForgetNode(place.state_dir);
    return Forward(up.error());
  }
  PrintUp(record, json);
  return kExitOk;
}

Result<int> RunInForeground(const NodePlace& place, NodeRecord record, std::vector<std::string> command) {
  record.process = host::ThisProcess();
  auto saved = SaveNode(place.state_dir, record);
  if (!saved) return Forward(saved.error());
  // Signals of the terminal reach the node itself, which ends on them.
  auto code = RunAndWait(std::move(command));
  ForgetNode(place.state_dir);
  return code;
}

Result<int> Up(const NodePlace& place, const UpOptions& options) {
  const Context& context = place.context;
  if (const auto running = FindNode(place.state_dir)) {
    Tell("a node is running already");
    PrintUp(*running, options.json);
    return kExitOk;
  }
  const std::string config_file = ConfigFileOf(context, options.config_file);
  auto config = EffectiveConfig(options, config_file);
  if (!config) return Forward(config.error());
  // Before a port is opened.
  auto reach = node::CheckReach(*config, config->address);
  if (!reach) return Forward(reach.error());
  auto placement = ChoosePlacement();
  if (!placement) return Forward(placement.error());

  NodeRecord record;
  record.address = config->address;
  record.is_emulated = *placement == Placement::kEmulatedHost;
  record.started_unix = RealtimeNanos() / 1'000'000'000;
  auto port = config->port != 0 ? Result<uint16_t>(static_cast<uint16_t>(config->port)) : host::FindFreePort();
  if (!port) return Forward(port.error());
  record.port = *port;

  std::error_code failure;
  fs::create_directories(place.state_dir, failure);
  if (failure) return FailErrno(failure.value(), "making {}", place.state_dir.string());
  auto prepared = PrepareHost(context, record);
  auto code = prepared ? (options.foreground
                              ? RunInForeground(place, record, NodeCommand(place, config_file, record))
                              : RunInBackground(place, record, NodeCommand(place, config_file, record), options.json))
                       : Result<int>(Forward(prepared.error()));
  if (!code || options.foreground) ReleaseHost(context, record);
  return code;
}

struct DownOptions {
  bool force = false;
};

Result<int> Down(const NodePlace& place, const DownOptions& options) {
  const auto record = FindNode(place.state_dir);
  if (!record) {
    Tell("no node is running");
    return kExitOk;
  }
  if (options.force) {
    host::KillProcess(record->process);
  } else {
    // It drains first: the patience is for its own, see snapfaasd.
    ::kill(record->process.pid, SIGTERM);
    if (host::WaitUntilGone(record->process, kStopPatience) == host::WaitOutcome::kStillThere) {
      return Fail(ErrorCode::kTimedOut,
                  "the node (process {}) has not ended after {} s; `snapfaas down --force` kills it",
                  record->process.pid, kStopPatience.count());
    }
  }
  ReleaseHost(place.context, *record);
  ForgetNode(place.state_dir);
  return kExitOk;
}

Result<int> ShowStatus(const NodePlace& place, bool json) {
  const auto record = FindNode(place.state_dir);
  if (!record) {
    if (json) {
      fmt::print("{}\n", nlohmann::json{{"running", false}}.dump());
    } else {
      fmt::print("no node is running with {}; start one with `snapfaas up`\n", place.state_dir.string());
    }
    return kExitFailure;
  }
  auto client = NodeClient::Connect({record->Url(), false});
  if (!client) return Forward(client.error());
  auto info = client->Call("GET", "/v1/node");
  if (!info) return Forward(info.error());
  if (json) {
    auto all = ToJson(*record);
    all["node"] = *info;
    fmt::print("{}\n", all.dump());
    return kExitOk;
  }
  PrintUp(*record, false);
  fmt::print("{}, process {}, up for {:.0f} s\n", TextOf(*info, "state"), record->process.pid,
             NumberOf(*info, "uptime_seconds"));
  fmt::print("microVMs: {} busy, {} idle, {} starting; {} of {} MiB\n", NumberOf(*info, "vms_busy"),
             NumberOf(*info, "vms_idle"), NumberOf(*info, "vms_starting"), NumberOf(*info, "memory_reserved_mib"),
             NumberOf(*info, "memory_budget_mib"));
  fmt::print("requests: {} running, {} waiting; {} asynchronous events waiting\n", NumberOf(*info, "requests_running"),
             NumberOf(*info, "requests_queued"), NumberOf(*info, "events_waiting"));
  return kExitOk;
}

Result<int> ShowConfig(const Context& context, const std::string& option) {
  auto config = ReadConfig(ConfigFileOf(context, option));
  if (!config) return Forward(config.error());
  fmt::print("{}", node::PrintNodeConfig(*config));
  return kExitOk;
}

}  // namespace

void AddNodeLifeCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto state = std::make_shared<std::string>();
  const auto place = [context = std::move(context), state]() -> Result<NodePlace> {
    auto made = context();
    if (!made) return Forward(made.error());
    const fs::path folder = state->empty() ? made->data_dir / "node" : fs::absolute(*state).lexically_normal();
    return NodePlace{std::move(*made), folder};
  };
  const auto callback = [&](auto action) { return KeepExitCode(place, std::move(action), exit_code); };
  const auto add_state = [state](CLI::App& command) {
    command.add_option("--state", *state, "folder of the node's functions, code, images and logs (else <data>/node)");
  };

  auto options = std::make_shared<UpOptions>();
  auto* up = app.add_subcommand("up", "Start the node, in the background unless told otherwise");
  up->add_option("--config", options->config_file, "TOML file (else <data>/node.toml, if it is there)")
      ->check(CLI::ExistingFile);
  up->add_option("--address", options->address, "where to listen, instead of what the configuration says");
  up->add_option("--port", options->port, "the same; 0: any that is free")->check(CLI::Range(0, 65'535));
  up->add_flag("--foreground", options->foreground, "stay until the node ends; its log goes to standard error");
  up->add_flag("--json", options->json, "print JSON");
  add_state(*up);
  up->callback(callback([options](const NodePlace& made) { return Up(made, *options); }));

  auto down_options = std::make_shared<DownOptions>();
  auto* down = app.add_subcommand("down", "Drain and stop the node");
  down->add_flag("--force", down_options->force, "kill it: requests that run are lost, nothing else");
  add_state(*down);
  down->callback(callback([down_options](const NodePlace& made) { return Down(made, *down_options); }));

  auto json = std::make_shared<bool>(false);
  auto* status = app.add_subcommand("status", "Say whether the node runs, and what it does; exit code 1 if not");
  status->add_flag("--json", *json, "print JSON");
  add_state(*status);
  status->callback(callback([json](const NodePlace& made) { return ShowStatus(made, *json); }));

  auto file = std::make_shared<std::string>();
  auto* config = app.add_subcommand("config", "Print the node's settings, as a TOML file with comments");
  config->add_option("--config", *file, "TOML file (else <data>/node.toml, if it is there)")->check(CLI::ExistingFile);
  config->callback(callback([file](const NodePlace& made) { return ShowConfig(made.context, *file); }));
}

}  // namespace snapfaas::cli
