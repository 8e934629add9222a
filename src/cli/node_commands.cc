#include "cli/node_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "cli/context.h"
#include "cli/node_client.h"
#include "cli/table.h"

namespace snapfaas::cli {
namespace {

struct TopOptions {
  std::shared_ptr<ClientOptions> client = std::make_shared<ClientOptions>();
  bool once = false;
  double interval_seconds = 1;
};

// The list that the node gives under this name.
Result<std::vector<Json>> GetList(const NodeClient& node, const std::string& target, const char* key) {
  auto answer = node.Call("GET", target);
  if (!answer) return Forward(answer.error());
  const auto found = answer->is_object() ? answer->find(key) : answer->end();
  if (found == answer->end() || !found->is_array()) {
    return Fail(ErrorCode::kIncompatible, "the node at {} sent no list of {}", node.url(), key);
  }
  return found->get<std::vector<Json>>();
}

std::string Mebibytes(const Json& object) { return Count(NumberOf(object, "memory_mib")) + " MiB"; }

Result<int> Processes(const NodeClient& node, const ClientOptions& options) {
  auto vms = GetList(node, "/v1/vms", "vms");
  if (!vms) return Forward(vms.error());
  if (options.json) {
    PrintJson(*vms);
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& vm : *vms) {
    rows.push_back({Count(NumberOf(vm, "id")), Count(NumberOf(vm, "pid")), TextOf(vm, "function"),
                    TextOf(vm, "version"), TextOf(vm, "state"), ShortDuration(NumberOf(vm, "state_seconds")),
                    Mebibytes(vm), Count(NumberOf(vm, "vcpus")), Count(NumberOf(vm, "requests")),
                    ShortDuration(NumberOf(vm, "age_seconds"))});
  }
  fmt::print("{}", FormatTable({{"VM", Align::kRight},
                                {"PID", Align::kRight},
                                {"FUNCTION"},
                                {"VERSION"},
                                {"STATE"},
                                {"FOR", Align::kRight},
                                {"MEMORY", Align::kRight},
                                {"VCPUS", Align::kRight},
                                {"REQUESTS", Align::kRight},
                                {"AGE", Align::kRight}},
                               rows));
  return kExitOk;
}

// What the microVMs of one function come to.
struct FunctionLoad {
  uint64_t vms = 0;
  uint64_t busy = 0;
  uint64_t idle = 0;
  double memory_mib = 0;
  double requests = 0;
  double answered = 0;  // since the picture before
};

// Requests answered by each microVM.
using Requests = std::map<uint64_t, double>;

std::map<std::string, FunctionLoad> Summarise(const std::vector<Json>& vms, Requests& seen) {
  std::map<std::string, FunctionLoad> loads;
  Requests now;
  for (const Json& vm : vms) {
    FunctionLoad& load = loads[TextOf(vm, "function")];
    const std::string state = TextOf(vm, "state");
    const auto id = static_cast<uint64_t>(NumberOf(vm, "id"));
    const double requests = NumberOf(vm, "requests");
    ++load.vms;
    if (state == "busy") ++load.busy;
    if (state == "idle") ++load.idle;
    load.memory_mib += NumberOf(vm, "memory_mib");
    load.requests += requests;
    const auto before = seen.find(id);
    load.answered += before == seen.end() ? requests : requests - before->second;
    now[id] = requests;
  }
  seen = std::move(now);
  return loads;
}

Json ToJson(const std::map<std::string, FunctionLoad>& loads) {
  Json functions = Json::array();
  for (const auto& [name, load] : loads) {
    functions.push_back({{"function", name},
                         {"vms", load.vms},
                         {"busy", load.busy},
                         {"idle", load.idle},
                         {"memory_mib", load.memory_mib},
                         {"requests", load.requests}});
  }
  return functions;
}

// `seconds` since the picture before; 0: there was none.
std::string Picture(const std::map<std::string, FunctionLoad>& loads, double seconds) {
  std::vector<std::vector<std::string>> rows;
  FunctionLoad all;
  const auto row = [seconds](const std::string& name, const FunctionLoad& load) {
    return std::vector<std::string>{name,
                                    std::to_string(load.vms),
                                    std::to_string(load.busy),
                                    std::to_string(load.idle),
                                    Count(load.memory_mib) + " MiB",
                                    Count(load.requests),
                                    seconds > 0 ? fmt::format("{:.1f}", load.answered / seconds) : "-"};
  };
  for (const auto& [name, load] : loads) {
    rows.push_back(row(name, load));
    all.vms += load.vms;
    all.busy += load.busy;
    all.idle += load.idle;
    all.memory_mib += load.memory_mib;
    all.requests += load.requests;
    all.answered += load.answered;
  }
  rows.push_back(row("(all)", all));
  return FormatTable({{"FUNCTION"},
                      {"VMS", Align::kRight},
                      {"BUSY", Align::kRight},
                      {"IDLE", Align::kRight},
                      {"MEMORY", Align::kRight},
                      {"REQUESTS", Align::kRight},
                      {"PER SECOND", Align::kRight}},
                     rows);
}

Result<int> Top(const NodeClient& node, const TopOptions& options) {
  // Home, and erase to the end (ECMA-48).
  const char* const clear = options.once || ::isatty(STDOUT_FILENO) == 0 ? "" : "\x1b[H\x1b[J";
  Requests seen;
  int64_t before_ns = 0;
  for (;;) {
    auto vms = GetList(node, "/v1/vms", "vms");
    if (!vms) return Forward(vms.error());
    const int64_t now_ns = MonotonicNanos();
    const auto loads = Summarise(*vms, seen);
    if (options.client->json) {
      fmt::print("{}\n", ToJson(loads).dump(-1, ' ', false, Json::error_handler_t::replace));
    } else {
      const double seconds = before_ns == 0 ? 0 : static_cast<double>(now_ns - before_ns) / 1e9;
      fmt::print("{}{}", clear, Picture(loads, seconds));
    }
    // Also where nobody reads any more what is printed.
    if (std::fflush(stdout) != 0 || options.once) return kExitOk;
    before_ns = now_ns;
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
  }
}

Result<int> Snapshots(const NodeClient& node, const ClientOptions& options) {
  auto snapshots = GetList(node, "/v1/snapshots", "snapshots");
  if (!snapshots) return Forward(snapshots.error());
  if (options.json) {
    PrintJson(*snapshots);
    return kExitOk;
  }
  const double now_ms = static_cast<double>(RealtimeNanos()) / 1e6;
  std::vector<std::vector<std::string>> rows;
  for (const Json& snapshot : *snapshots) {
    const double last_use = NumberOf(snapshot, "last_use_unix_ms");
    const std::string problem = TextOf(snapshot, "problem");
    const std::string function = TextOf(snapshot, "function");
    rows.push_back({TextOf(snapshot, "runtime"), function.empty() ? "(base)" : function, Mebibytes(snapshot),
                    Count(NumberOf(snapshot, "vcpus")), ShortBytes(NumberOf(snapshot, "disk_bytes")),
                    last_use > 0 ? ShortDuration(std::max(0.0, now_ms - last_use) / 1e3) + " ago" : "-",
                    problem.empty() ? "usable" : problem});
  }
  fmt::print("{}", FormatTable({{"RUNTIME"},
                                {"IMAGE"},
                                {"MEMORY", Align::kRight},
                                {"VCPUS", Align::kRight},
                                {"DISK", Align::kRight},
                                {"USED", Align::kRight},
                                {"STATE"}},
                               rows));
  return kExitOk;
}

using Listing = Result<int> (*)(const NodeClient& node, const ClientOptions& options);

void AddListing(CLI::App& app, const char* name, const char* description, Listing listing, int& exit_code) {
  auto options = std::make_shared<ClientOptions>();
  auto* command = app.add_subcommand(name, description);
  command->fallthrough();
  AddClientOptions(*command, *options);
  OnParsed(
      *command, options, [options, listing](const NodeClient& node) { return listing(node, *options); }, exit_code);
}

}  // namespace

void AddNodeCommands(CLI::App& app, int& exit_code) {
  AddListing(app, "ps", "List the microVMs of a node", Processes, exit_code);
  auto options = std::make_shared<TopOptions>();
  auto* top = app.add_subcommand("top", "Watch what a node's functions do");
  top->fallthrough();
  AddClientOptions(*top, *options->client);
  top->add_flag("--once", options->once, "print one picture and end");
  top->add_option("--interval", options->interval_seconds, "seconds between two pictures")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  OnParsed(
      *top, options->client, [options](const NodeClient& node) { return Top(node, *options); }, exit_code);
  AddListing(app, "snapshots", "List the snapshots of a node", Snapshots, exit_code);
}

}  // namespace snapfaas::cli
