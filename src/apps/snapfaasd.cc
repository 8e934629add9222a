// snapfaasd: the node. Started by `snapfaas up`; ends on SIGTERM or SIGINT, when what it was doing is done.
#include <fmt/core.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/utc.h"
#include "cli/context.h"
#include "gateway/gateway.h"
#include "gateway/http_server.h"
#include "gateway/lambda_api.h"
#include "host/kvm_probe.h"
#include "node/node.h"

namespace snapfaas {
namespace {

struct Options {
  std::string data;
  std::string state;
  std::string config;
  std::string address;
  std::string outer_address;
  int port = -1;
  double grace_seconds = 25;
};

void Log(std::string_view line) { fmt::print(stderr, "{} {}\n", FormatUtc(RealtimeNanos() / 1'000'000), line); }

// Connections, microVMs and their channels are descriptors.
void AllowManyDescriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

Result<node::NodeConfig> ReadConfig(const Options& options) {
  auto config =
      options.config.empty() ? Result<node::NodeConfig>(node::NodeConfig()) : node::LoadNodeConfig(options.config);
  if (!config) return config;
  if (!options.address.empty()) config->address = options.address;
  if (options.port >= 0) config->port = static_cast<uint64_t>(options.port);
  return config;
}

std::string OuterAddress(const node::NodeConfig& config, const Options& options) {
  return options.outer_address.empty() ? config.address : options.outer_address;
}

gateway::GatewayOptions GatewayOptionsOf(const node::NodeConfig& config, const Options& options) {
  gateway::GatewayOptions made;
  made.address = config.address;
  made.port = static_cast<uint16_t>(config.port);
  made.threads = static_cast<unsigned>(config.threads);
  if (config.has_credentials()) made.credentials = {config.access_key_id, config.secret_access_key};
  made.place = {config.region, config.account};
  // In the emulated host only the forwarded port leads here, and that one is opened by the rules for its address.
  if (!options.outer_address.empty() && host::InsideEmulatedHost()) {
    made.remote_access = gateway::RemoteAccess::kAllowed;
  }
  return made;
}

gateway::LambdaOptions LambdaOptionsOf(const node::NodeConfig& config, const Options& options) {
  gateway::LambdaOptions made;
  made.place = {config.region, config.account};
  made.endpoint = fmt::format("http://{}:{}", OuterAddress(config, options), config.port);
  made.function_url = fmt::format("http://{{id}}.lambda-url.localhost:{}/", config.port);
  if (config.has_credentials()) made.credentials = {config.access_key_id, config.secret_access_key};
  return made;
}

Status Serve(const Options& options) {
  auto context = cli::MakeContext(options.data);
  if (!context) return Forward(context.error());
  auto config = ReadConfig(options);
  if (!config) return Forward(config.error());
  if (const auto probe = host::ProbeKvm(); !host::KvmUsable(probe)) {
    return Fail(ErrorCode::kUnavailable, "microVMs cannot run here: {}; `snapfaas up` starts the node where they can",
                host::Describe(probe));
  }
  auto reach = node::CheckReach(*config, OuterAddress(*config, options));
  if (!reach) return reach;
  const std::filesystem::path state =
      options.state.empty() ? context->data_dir / "node" : std::filesystem::absolute(options.state);
  gateway::Metrics metrics;
  auto node =
      node::Node::Open({context->data_dir, state, context->bin_dir / "snapfaas-vmm", context->share_dir}, *config, Log,
                       [&metrics](const auto& function, const auto& answer) { metrics.Count(function, answer); });
  if (!node) return Forward(node.error());
  gateway::LambdaApi lambda((*node)->registry(), (*node)->code(), (*node)->deployments(),
                            LambdaOptionsOf(*config, options));
  auto gateway = gateway::Gateway::Create(
      GatewayOptionsOf(*config, options),
      {[&lambda](const auto& request) { return lambda.Handle(request); }, (*node)->invoker(), (*node)->events(), **node,
       [&node](const auto& id) { return (*node)->registry().FindUrl(id); }, metrics});
  if (!gateway) return Forward(gateway.error());
  Log(fmt::format("listening at {} port {}", config->address, (*gateway)->port()));

  const sigset_t ends = EndSignals();
  int signal = 0;
  ::sigwait(&ends, &signal);
  Log("draining");
  const auto grace_ns = static_cast<int64_t>(options.grace_seconds * 1e9);
  (*node)->Drain(MonotonicNanos() + grace_ns);
  (*gateway)->Stop(std::chrono::seconds(1));
  node->reset();
  Log("stopped");
  return {};
}

int RunNode(int argc, char** argv) {
  Options options;
  CLI::App app("The SnapFaaS node; `snapfaas up` starts it where microVMs can run.", "snapfaasd");
  app.add_option("--data", options.data, "data folder, as of snapfaas");
  app.add_option("--state", options.state, "folder of functions, code, images and logs (else <data>/node)");
  app.add_option("--config", options.config, "TOML file; `snapfaas config` prints one");
  app.add_option("--address", options.address, "where to listen, instead of what the configuration says");
  app.add_option("--port", options.port, "the same; 0: any that is free")->check(CLI::Range(0, 65'535));
  app.add_option("--outer-address", options.outer_address,
                 "the address at which the machine around the emulated host listens for this node");
  app.add_option("--grace", options.grace_seconds, "seconds for what runs when the node is to end")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  // Before any thread: all of them leave these to sigwait.
  const sigset_t ends = EndSignals();
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  AllowManyDescriptors();
  const auto served = Serve(options);
  if (!served) Log(served.error().Message());
  return served ? 0 : 1;
}

}  // namespace
}  // namespace snapfaas

int main(int argc, char** argv) { return snapfaas::RunNode(argc, argv); }
