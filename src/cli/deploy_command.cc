#include "cli/deploy_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/context.h"
#include "cli/deployment_package.h"
#include "cli/runtime_access.h"
#include "http/canonical_request.h"
#include "images/runtimefs.h"

namespace snapfaas::cli {
namespace {

// Clients of AWS must name one; nobody here looks at it.
constexpr char kRole[] = "arn:aws:iam::000000000000:role/snapfaas";
constexpr double kUploadSeconds = 120;
// A first deployment may have to take the runtime's base snapshot.
constexpr double kDeployPatienceSeconds = 300;

void Say(const FunctionDeployment& options, std::string_view text) {
  if (options.say) options.say(text);
}

Result<Json> Variables(const std::vector<std::string>& pairs) {
  Json variables = Json::object();
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument, "\"{}\" is no environment variable: it must look like NAME=VALUE", pair);
    }
    variables[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return variables;
}

// Members of CreateFunction and UpdateFunctionConfiguration.
Result<Json> WantedConfiguration(const FunctionDeployment& options) {
  Json wanted = Json::object();
  if (!options.runtime.empty()) wanted["Runtime"] = options.runtime;
  if (!options.handler.empty()) wanted["Handler"] = options.handler;
  if (options.memory) wanted["MemorySize"] = *options.memory;
  if (options.timeout) wanted["Timeout"] = *options.timeout;
  // Beyond Lambda's own members.
  if (!options.isolation.empty()) {
    wanted["SnapFaaS"] = {{"Isolation", options.isolation == "reset" ? "Reset" : "Reuse"}};
  }
  if (options.snapshot) wanted["SnapStart"] = {{"ApplyOn", *options.snapshot ? "PublishedVersions" : "None"}};
  if (!options.environment.empty()) {
    auto variables = Variables(options.environment);
    if (!variables) return Forward(variables.error());
    wanted["Environment"] = {{"Variables", *variables}};
  }
  return wanted;
}

// Whether the function has these members already; it may have more.
bool Has(const Json& current, const Json& wanted) {
  if (!wanted.is_object()) return current == wanted;
  for (const auto& [key, value] : wanted.items()) {
    const auto found = current.is_object() ? current.find(key) : current.end();
    if (found == current.end()) return false;
    const bool same = key == "Environment" ? *found == value : Has(*found, value);
    if (!same) return false;
  }
  return true;
}

bool IsInProgress(const Json& configuration) {
  return TextOf(configuration, "State") == "Pending" || TextOf(configuration, "LastUpdateStatus") == "InProgress";
}

// The configuration once the node is through with what it was told, well or not.
Result<Json> WaitUntilSettled(const NodeClient& node, const FunctionDeployment& options) {
  const int64_t deadline = MonotonicNanos() + static_cast<int64_t>(kDeployPatienceSeconds * 1e9);
  bool said = false;
  for (;;) {
    auto configuration = node.Call("GET", FunctionPath(options.name, "/configuration"));
    if (!configuration || !IsInProgress(*configuration)) return configuration;
    if (MonotonicNanos() > deadline) {
      return Fail(ErrorCode::kTimedOut, "{} is still not ready after {:.0f} s: see `snapfaas ls` and the node's log",
                  options.name, kDeployPatienceSeconds);
    }
    if (!std::exchange(said, true)) Say(options, fmt::format("the node is making {} ready", options.name));
    std::this_thread::sleep_for(kPollPause);
  }
}

Result<Json> WaitUntilReady(const NodeClient& node, const FunctionDeployment& options) {
  auto configuration = WaitUntilSettled(node, options);
  if (!configuration) return configuration;
  if (TextOf(*configuration, "LastUpdateStatus") == "Failed") {
    return Fail(ErrorCode::kSystem, "{} could not be updated: {}", options.name,
                TextOf(*configuration, "LastUpdateStatusReason"));
  }
  if (TextOf(*configuration, "State") == "Failed") {
    return Fail(ErrorCode::kSystem, "{} could not be deployed: {}", options.name,
                TextOf(*configuration, "StateReason"));
  }
  return configuration;
}

// As Lambda has it: the Base64 of the hash's bytes.
std::string CodeSha256Of(const std::string& zip) {
  const std::string hex = http::Sha256Hex(zip);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return EncodeBase64(bytes);
}

// Whether it serves this very code already.
bool Serves(const Json& configuration, const std::string& zip) {
  return TextOf(configuration, "State") == "Active" && TextOf(configuration, "LastUpdateStatus") != "Failed" &&
         TextOf(configuration, "CodeSha256") == CodeSha256Of(zip);
}

// The handler of a new function that nobody has named.
Result<std::string> ChooseHandler(const FunctionDeployment& options, const DeploymentPackage& package) {
  if (!options.handler.empty()) return options.handler;
  if (package.handler.name.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "nothing in {} tells what is called of runtime {}: name the handler by --handler",
                options.source.string(), options.runtime);
  }
  const std::string& guess = package.handler.name;
  Say(options, package.handler.is_sure
                   ? fmt::format("the handler is {}", guess)
                   : fmt::format("the handler is taken to be {}, though its file does not seem to define it: --handler "
                                 "names another",
                                 guess));
  return package.handler.name;
}

Result<Json> Create(const NodeClient& node, const FunctionDeployment& options, const DeploymentPackage& package,
                    Json wanted) {
  if (options.runtime.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "{} is new: name its runtime, e.g. --runtime python3", options.name);
  }
  auto handler = ChooseHandler(options, package);
  if (!handler) return Forward(handler.error());
  wanted["FunctionName"] = options.name;
  wanted["Handler"] = *handler;
  wanted["Role"] = kRole;
  wanted["Code"] = {{"ZipFile", EncodeBase64(package.zip)}};
  if (!wanted.contains("SnapStart")) wanted["SnapStart"] = {{"ApplyOn", "PublishedVersions"}};
  auto created = node.Call("POST", "/2015-03-31/functions", wanted, kUploadSeconds);
  if (!created) return created;
  return WaitUntilReady(node, options);
}

Result<Json> Update(const NodeClient& node, const FunctionDeployment& options, const DeploymentPackage& package,
                    const Json& wanted) {
  // One that is still under way would have this one refused.
  auto current = WaitUntilSettled(node, options);
  if (!current) return current;
  if (!Serves(*current, package.zip)) {
    const Json code = {{"ZipFile", EncodeBase64(package.zip)}};
    auto updated = node.Call("PUT", FunctionPath(options.name, "/code"), code, kUploadSeconds);
    if (!updated) return updated;
    current = WaitUntilReady(node, options);
    if (!current) return current;
  }
  if (Has(*current, wanted)) return current;
  auto updated = node.Call("PUT", FunctionPath(options.name, "/configuration"), wanted);
  if (!updated) return updated;
  return WaitUntilReady(node, options);
}

// The recipe of a runtime that we or Lambda call so.
std::optional<images::RuntimeRecipe> FindRecipe(const std::filesystem::path& share_dir, const std::string& runtime) {
  const auto is_it = [&runtime](const images::RuntimeRecipe& recipe) {
    const auto& names = recipe.lambda_runtimes;
    return recipe.name == runtime || std::find(names.begin(), names.end(), runtime) != names.end();
  };
  auto recipes = images::ListRecipes(share_dir);
  const auto found = std::find_if(recipes.begin(), recipes.end(), is_it);
  if (found == recipes.end()) return std::nullopt;
  return std::move(*found);
}

struct DeployOptions : FunctionDeployment {
  std::shared_ptr<ClientOptions> client = std::make_shared<ClientOptions>();
};

Result<int> Deploy(const NodeClient& node, DeployOptions options) {
  if (!options.client->json) options.say = [](std::string_view text) { fmt::print(stderr, "snapfaas: {}\n", text); };
  auto deployed = DeployFunction(node, options);
  if (!deployed) return Forward(deployed.error());
  const Json& ready = deployed->configuration;
  if (options.client->json) {
    PrintJson(ready);
  } else {
    fmt::print("{} is {}: {} with {:.0f} MB, {} in {:.0f} s at most\n", options.name,
               deployed->is_new ? "deployed" : "updated", TextOf(ready, "Runtime"), NumberOf(ready, "MemorySize"),
               TextOf(ready, "Handler"), NumberOf(ready, "Timeout"));
  }
  return kExitOk;
}

}  // namespace

Result<DeployedFunction> DeployFunction(const NodeClient& node, const FunctionDeployment& deployment) {
  auto wanted = WantedConfiguration(deployment);
  if (!wanted) return Forward(wanted.error());
  const auto recipe = FindRecipe(deployment.share_dir, deployment.runtime);
  auto package = MakePackage(deployment.source, recipe ? &*recipe : nullptr);
  if (!package) return Forward(package.error());
  auto known = node.Call("GET", FunctionPath(deployment.name, "/configuration"));
  if (!known && known.error().code != ErrorCode::kNotFound) return Forward(known.error());
  const auto really = recipe || !known ? recipe : FindRecipe(deployment.share_dir, TextOf(*known, "Runtime"));
  if (really && deployment.fetch_packages) {
    if (auto fetched = deployment.fetch_packages(really->name); !fetched) return Forward(fetched.error());
  }
  auto ready = known ? Update(node, deployment, *package, *wanted) : Create(node, deployment, *package, *wanted);
  if (!ready) return Forward(ready.error());
  return DeployedFunction{*std::move(ready), !known};
}

void AddDeployCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<DeployOptions>();
  auto* command = app.add_subcommand("deploy", "Deploy a function to a node, or update it");
  command->fallthrough();
  AddClientOptions(*command, *options->client);
  command->add_option("name", options->name, "name of the function")->required();
  command->add_option("source", options->source, "its folder, or a zip archive of that")->required();
  command->add_option("--runtime", options->runtime, "language runtime, e.g. python3; required for a new function");
  command->add_option("--handler", options->handler,
                      "what is called, e.g. app.handler (for a new function: what `snapfaas run` would call)");
  command->add_option("--memory", options->memory, "memory of its microVMs in MB (128)");
  command->add_option("--timeout", options->timeout, "seconds that a request may take (3)");
  command->add_option("--env", options->environment, "an environment variable, NAME=VALUE; replaces all there were")
      ->take_all()
      ->allow_extra_args(false);
  command
      ->add_option("--isolation", options->isolation,
                   "reuse: a request finds what the last one left (the default); reset: its microVM as it was when the "
                   "function was loaded")
      ->check(CLI::IsMember({"reuse", "reset"}));
  auto* with = command->add_flag_callback(
      "--snapshot", [options] { options->snapshot = true; },
      "start microVMs from a snapshot of the loaded function (the default of a new one)");
  command
      ->add_flag_callback(
          "--no-snapshot", [options] { options->snapshot = false; },
          "start them from the snapshot of the language runtime")
      ->excludes(with);
  OnParsed(
      *command, options->client,
      [options, context = std::move(context)](const NodeClient& node) -> Result<int> {
        auto found = context();
        if (!found) return Forward(found.error());
        options->share_dir = found->share_dir;
        options->fetch_packages = [&](const std::string& runtime) -> Status {
          auto opened = OpenRuntime(*found, runtime);
          // The node may be elsewhere, and have it.
          return opened ? FetchPackages(options->source, *opened) : Status();
        };
        return Deploy(node, *options);
      },
      exit_code);
}

}  // namespace snapfaas::cli
