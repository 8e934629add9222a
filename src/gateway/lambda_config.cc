#include "gateway/lambda_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "gateway/ascii.h"

namespace snapfaas::gateway {
namespace {

constexpr size_t kMaxEnvironment = 4096;
constexpr uint32_t kMaxTimeout = 900;
constexpr uint32_t kLambdasMaxMemory = 10240;

// Set by the runtime itself.
constexpr std::array<std::string_view, 18> kReservedVariables = {"_HANDLER",
                                                                 "_X_AMZN_TRACE_ID",
                                                                 "AWS_ACCESS_KEY",
                                                                 "AWS_ACCESS_KEY_ID",
                                                                 "AWS_DEFAULT_REGION",
                                                                 "AWS_EXECUTION_ENV",
                                                                 "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                                                                 "AWS_LAMBDA_FUNCTION_NAME",
                                                                 "AWS_LAMBDA_FUNCTION_VERSION",
                                                                 "AWS_LAMBDA_INITIALIZATION_TYPE",
                                                                 "AWS_LAMBDA_LOG_GROUP_NAME",
                                                                 "AWS_LAMBDA_LOG_STREAM_NAME",
                                                                 "AWS_LAMBDA_RUNTIME_API",
                                                                 "AWS_REGION",
                                                                 "AWS_SECRET_ACCESS_KEY",
                                                                 "AWS_SESSION_TOKEN",
                                                                 "LAMBDA_RUNTIME_DIR",
                                                                 "LAMBDA_TASK_ROOT"};

bool IsVariableName(std::string_view name) {
  return name.size() >= 2 && IsLetter(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsLetter(c) || IsDigit(c) || c == '_'; });
}

// arn:aws:iam::ACCOUNT:role/NAME; whose account does not matter here.
constexpr const char* kRolePattern = "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";
bool IsRole(std::string_view role) {
  constexpr std::string_view kIam = ":iam::";
  constexpr std::string_view kRole = ":role";
  constexpr size_t kAccountDigits = 12;
  if (!role.starts_with("arn:aws")) return false;
  const size_t iam = role.find(kIam);
  if (iam == std::string_view::npos) return false;
  const auto account = role.substr(iam + kIam.size());
  if (account.size() < kAccountDigits || !std::all_of(account.begin(), account.begin() + kAccountDigits, IsDigit)) {
    return false;
  }
  const auto rest = account.substr(kAccountDigits);
  return rest.starts_with(kRole) && rest.size() > kRole.size() + 1 &&
         std::all_of(rest.begin() + kRole.size(), rest.end(), [](char c) {
           return IsLetter(c) || IsDigit(c) || std::string_view("+=,.@-_/").find(c) != std::string_view::npos;
         });
}

bool HasNoBlank(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
}

void ReadEnvironment(LambdaInput& input, registry::FunctionConfig& config) {
  auto environment = input.Object("Environment");
  if (!environment) return;
  auto variables = environment->StringMap("Variables").value_or(std::map<std::string, std::string>());
  size_t size = 0;
  std::vector<std::string_view> reserved;
  for (const auto& [name, value] : variables) {
    if (std::find(kReservedVariables.begin(), kReservedVariables.end(), name) != kReservedVariables.end()) {
      reserved.push_back(name);
    } else if (!IsVariableName(name)) {
      input.Fail(ConstraintViolated(name, "environment.variables",
                                    "Map keys must satisfy constraint: [Member must satisfy regular expression "
                                    "pattern: [a-zA-Z]([a-zA-Z0-9_])+]"));
    } else if (value.find('\0') != std::string::npos) {
      input.Fail(InvalidParameterValue(fmt::format("The environment variable {} holds a zero byte", name)));
    }
    size += name.size() + value.size();
  }
  constexpr const char* kFailed =
      "Lambda was unable to configure your environment variables because the environment variables you have provided";
  if (!reserved.empty()) {
    input.Fail(InvalidParameterValue(
        fmt::format("{} contains reserved keys that are currently not supported for modification. Reserved keys used "
                    "in this request: {}",
                    kFailed, fmt::join(reserved, ", "))));
  }
  if (size > kMaxEnvironment) {
    input.Fail(InvalidParameterValue(
        fmt::format("{} exceeded the 4KB limit. They have {} bytes, names included.", kFailed, size)));
  }
  config.environment = std::move(variables);
}

void ReadMemory(LambdaInput& input, uint32_t max_memory_mib, registry::FunctionConfig& config) {
  const auto memory = input.Number("MemorySize", 128, kLambdasMaxMemory);
  if (!memory) return;
  if (*memory > max_memory_mib) {
    input.Fail(InvalidParameterValue(
        fmt::format("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to {}",
                    max_memory_mib)));
  }
  config.memory_mib = *memory;
}

void ReadSnapStart(LambdaInput& input, registry::FunctionConfig& config) {
  if (auto snap_start = input.Object("SnapStart")) {
    const auto apply_on = snap_start->OneOf("ApplyOn", {"PublishedVersions", "None"});
    if (apply_on) {
      config.snap_start = *apply_on == "None" ? registry::SnapStart::kNone : registry::SnapStart::kPublishedVersions;
    }
  }
  if (auto ours = input.Object("SnapFaaS")) {
    const auto isolation = ours->OneOf("Isolation", {"Reuse", "Reset"});
    if (isolation) {
      config.isolation = *isolation == "Reset" ? registry::Isolation::kReset : registry::Isolation::kReuse;
    }
  }
}

// Kept and answered, nothing more.
void ReadKept(LambdaInput& input, registry::FunctionConfig& config) {
  if (auto tracing = input.Object("TracingConfig")) {
    if (const auto mode = tracing->OneOf("Mode", {"Active", "PassThrough"})) config.tracing_mode = *mode;
  }
  if (auto storage = input.Object("EphemeralStorage")) {
    if (const auto size = storage->Number("Size", 512, 10240)) config.ephemeral_storage_mib = *size;
  }
  if (auto dead_letters = input.Object("DeadLetterConfig")) {
    config.dead_letter_arn = dead_letters->String("TargetArn").value_or("");
  }
}

// What a function would miss when it runs.
void RefuseUnsupported(LambdaInput& input) {
  const auto refuse = [&input](const char* what) {
    input.Fail(InvalidParameterValue(fmt::format("This node does not support {}", what)));
  };
  if (input.Has("Layers") && !input.Strings("Layers").value_or(std::vector<std::string>()).empty()) {
    refuse("layers: put what they hold into the function's zip");
  }
  if (input.Has("ImageConfig")) refuse("container images: send the code as ZipFile");
  if (auto vpc = input.Object("VpcConfig")) {
    if (!vpc->Strings("SubnetIds").value_or(std::vector<std::string>()).empty()) refuse("VPCs");
  }
}

}  // namespace

void ReadConfig(LambdaInput& input, uint32_t max_memory_mib, registry::FunctionConfig& config) {
  const LambdaInput::Text handler{0, 128, HasNoBlank, "[^\\s]+"};
  const LambdaInput::Text role{0, SIZE_MAX, IsRole, kRolePattern};
  if (const auto text = input.String("Runtime")) config.runtime = *text;
  if (const auto text = input.String("Handler", handler)) config.handler = *text;
  if (const auto text = input.String("Role", role)) config.role = *text;
  if (const auto text = input.String("Description", {0, 256})) config.description = *text;
  if (const auto seconds = input.Number("Timeout", 1, kMaxTimeout)) config.timeout_s = *seconds;
  ReadMemory(input, max_memory_mib, config);
  ReadEnvironment(input, config);
  ReadSnapStart(input, config);
  if (auto architectures = ReadArchitectures(input)) config.architectures = *std::move(architectures);
  ReadKept(input, config);
  RefuseUnsupported(input);
}

std::optional<std::vector<std::string>> ReadArchitectures(LambdaInput& input) {
  auto architectures = input.Strings("Architectures");
  if (!architectures || *architectures == std::vector<std::string>{"x86_64"}) return architectures;
  input.Fail(InvalidParameterValue(
      fmt::format("This node runs functions on x86_64 only, not on: {}", fmt::join(*architectures, ", "))));
  return std::nullopt;
}

}  // namespace snapfaas::gateway
