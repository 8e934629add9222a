// snapfaas deploy: makes or updates a function of a node, and waits until it can be invoked.
#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/context.h"
#include "cli/node_client.h"

namespace snapfaas::cli {

// Between two looks at what a node does in the background.
inline constexpr std::chrono::milliseconds kPollPause{100};

// What is not given stays as it is, or is the node's default for a new function.
struct FunctionDeployment {
  std::string name;
  std::filesystem::path source;
  std::string runtime;
  std::filesystem::path share_dir;  // where the recipes of the runtimes are
  // Fetches what a node on this machine may not be able to fetch itself. `runtime` is one of ours; may be empty.
  std::function<Status(const std::string& runtime)> fetch_packages;
  std::string handler;
  std::optional<uint32_t> memory;
  std::optional<uint32_t> timeout;
  std::vector<std::string> environment;  // NAME=VALUE; replaces all there were
  std::string isolation;
  std::optional<bool> snapshot;
  std::function<void(std::string_view text)> say;  // what happens meanwhile, for a person; may be empty
};

struct DeployedFunction {
  nlohmann::json configuration;
  bool is_new = false;
};

// Returns when the function can be invoked.
Result<DeployedFunction> DeployFunction(const NodeClient& node, const FunctionDeployment& deployment);

void AddDeployCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code);

}  // namespace snapfaas::cli
