// Reserved concurrency, asynchronous invocation, the account.
#include <fmt/format.h>

#include "gateway/lambda_answers.h"
#include "gateway/lambda_api.h"
#include "gateway/lambda_call.h"

namespace snapfaas::gateway {
namespace {

using registry::EventInvokeConfig;

constexpr uint64_t kMaxCodeBytes = uint64_t{75} << 30;
constexpr uint64_t kMaxUnzipped = uint64_t{250} << 20;
constexpr uint64_t kMaxZipped = uint64_t{50} << 20;

// Nothing: the request has none. Empty: it takes what was there away.
struct Destinations {
  std::optional<std::string> on_success;
  std::optional<std::string> on_failure;
};

std::optional<std::string> ReadDestination(LambdaInput& config, const char* member) {
  auto one = config.Object(member);
  if (!one) return std::nullopt;
  return one->String("Destination", {0, 350}).value_or("");
}

Destinations ReadDestinations(LambdaInput& input) {
  auto config = input.Object("DestinationConfig");
  if (!config) return {};
  return {ReadDestination(*config, "OnSuccess"), ReadDestination(*config, "OnFailure")};
}

}  // namespace

LambdaApi::Outcome LambdaApi::PutFunctionConcurrency(LambdaCall& call) {
  auto& input = call.input;
  input.Require("ReservedConcurrentExecutions");
  const auto reserved = input.Number("ReservedConcurrentExecutions", 0, INT32_MAX).value_or(0);
  if (input.error()) return tl::unexpected(*input.error());
  const auto before = registry_.GetReservedConcurrency(call.function.name);
  if (!before) return tl::unexpected(Refusal(before.error(), call.function));
  const auto counts = registry_.Counts();
  if (!counts) return tl::unexpected(FromError(counts.error()));
  const uint64_t others = counts->reserved_concurrency - before->value_or(0);
  if (others + reserved + options_.min_unreserved > options_.concurrent_executions && reserved > 0) {
    return tl::unexpected(
        InvalidParameterValue(fmt::format("Specified ReservedConcurrentExecutions for function decreases account's "
                                          "UnreservedConcurrentExecution below its minimum value of [{}].",
                                          options_.min_unreserved)));
  }
  const auto set = registry_.SetReservedConcurrency(call.function.name, reserved);
  if (!set) return tl::unexpected(Refusal(set.error(), call.function));
  return LambdaAnswer(200, {{"ReservedConcurrentExecutions", reserved}});
}

LambdaApi::Outcome LambdaApi::GetFunctionConcurrency(LambdaCall& call) {
  const auto reserved = registry_.GetReservedConcurrency(call.function.name);
  if (!reserved) return tl::unexpected(Refusal(reserved.error(), call.function));
  auto answer = nlohmann::json::object();
  if (*reserved) answer["ReservedConcurrentExecutions"] = **reserved;
  return LambdaAnswer(200, std::move(answer));
}

LambdaApi::Outcome LambdaApi::DeleteFunctionConcurrency(LambdaCall& call) {
  const auto set = registry_.SetReservedConcurrency(call.function.name, std::nullopt);
  if (!set) return tl::unexpected(Refusal(set.error(), call.function));
  return NoContent();
}

std::optional<LambdaError> LambdaApi::CheckDestination(const std::string& arn, const FunctionName& function) const {
  if (arn.empty()) return std::nullopt;
  const auto target = ParseFunctionName(arn, options_.place);
  if (!target || !arn.starts_with("arn:")) {
    return InvalidParameterValue(
        fmt::format("The destination ARN {} is invalid: this node delivers to functions of its own only", arn));
  }
  if (target->name != function.name) return std::nullopt;
  return InvalidParameterValue("You can't specify the function as a destination for itself.");
}

LambdaApi::Outcome LambdaApi::PutFunctionEventInvokeConfig(LambdaCall& call) {
  return ChangeEventInvokeConfig(call, Unset::kClear);
}

LambdaApi::Outcome LambdaApi::UpdateFunctionEventInvokeConfig(LambdaCall& call) {
  return ChangeEventInvokeConfig(call, Unset::kKeep);
}

LambdaError LambdaApi::NoEventInvokeConfig(const FunctionName& function) const {
  const FunctionName qualified{function.name, function.qualifier.empty() ? registry::kLatest : function.qualifier};
  return ResourceNotFound(fmt::format("The function {} doesn't have an EventInvokeConfig", ArnOf(qualified)));
}

LambdaApi::Outcome LambdaApi::ChangeEventInvokeConfig(LambdaCall& call, Unset unset) {
  auto& input = call.input;
  const auto attempts = input.Number("MaximumRetryAttempts", 0, 2);
  const auto age = input.Number("MaximumEventAgeInSeconds", 60, 21600);
  const auto destinations = ReadDestinations(input);
  if (input.error()) return tl::unexpected(*input.error());
  if (!attempts && !age && !input.Has("DestinationConfig")) {
    return tl::unexpected(
        InvalidParameterValue("You must specify at least one of error handling or destination setting."));
  }
  for (const auto& arn : {destinations.on_success, destinations.on_failure}) {
    if (auto refused = CheckDestination(arn.value_or(""), call.function)) return tl::unexpected(*refused);
  }
  bool is_missing = false;
  const auto changed = registry_.ChangeEventInvokeConfig(
      call.function.name, call.function.qualifier,
      [&](const std::optional<EventInvokeConfig>& before) -> Result<EventInvokeConfig> {
        EventInvokeConfig config;
        if (unset == Unset::kKeep) {
          is_missing = !before;
          if (!before) return Fail(ErrorCode::kNotFound, "there is no configuration to be updated");
          config = *before;
        }
        if (attempts) config.max_retry_attempts = attempts;
        if (age) config.max_event_age_s = age;
        if (destinations.on_success) config.on_success = *destinations.on_success;
        if (destinations.on_failure) config.on_failure = *destinations.on_failure;
        return config;
      });
  if (is_missing) return tl::unexpected(NoEventInvokeConfig(call.function));
  if (!changed) return tl::unexpected(Refusal(changed.error(), call.function));
  return LambdaAnswer(200, EventInvokeConfigAnswer(*changed, options_.place));
}

LambdaApi::Outcome LambdaApi::GetFunctionEventInvokeConfig(LambdaCall& call) {
  if (auto function = Find(call.function); !function) return tl::unexpected(function.error());
  const auto config = registry_.GetEventInvokeConfig(call.function.name, call.function.qualifier);
  if (config) return LambdaAnswer(200, EventInvokeConfigAnswer(*config, options_.place));
  if (config.error().code == ErrorCode::kNotFound) return tl::unexpected(NoEventInvokeConfig(call.function));
  return tl::unexpected(FromError(config.error()));
}

LambdaApi::Outcome LambdaApi::ListFunctionEventInvokeConfigs(LambdaCall& call) {
  const auto page = PageOf(call, 50);
  if (!page) return tl::unexpected(page.error());
  const auto listed = registry_.ListEventInvokeConfigs(call.function.name, *page);
  if (!listed) return tl::unexpected(Refusal(listed.error(), call.function));
  return LambdaAnswer(200, ListAnswer("FunctionEventInvokeConfigs", *listed, [this](const EventInvokeConfig& config) {
                        return EventInvokeConfigAnswer(config, options_.place);
                      }));
}

LambdaApi::Outcome LambdaApi::DeleteFunctionEventInvokeConfig(LambdaCall& call) {
  if (auto function = Find(call.function); !function) return tl::unexpected(function.error());
  const auto deleted = registry_.DeleteEventInvokeConfig(call.function.name, call.function.qualifier);
  if (deleted) return NoContent();
  if (deleted.error().code == ErrorCode::kNotFound) return tl::unexpected(NoEventInvokeConfig(call.function));
  return tl::unexpected(FromError(deleted.error()));
}

LambdaApi::Outcome LambdaApi::GetAccountSettings(LambdaCall& /*call*/) {
  const auto counts = registry_.Counts();
  if (!counts) return tl::unexpected(FromError(counts.error()));
  const int64_t unreserved =
      int64_t{options_.concurrent_executions} - static_cast<int64_t>(counts->reserved_concurrency);
  return LambdaAnswer(
      200, {{"AccountLimit",
             {{"TotalCodeSize", kMaxCodeBytes},
              {"CodeSizeUnzipped", kMaxUnzipped},
              {"CodeSizeZipped", kMaxZipped},
              {"ConcurrentExecutions", options_.concurrent_executions},
              {"UnreservedConcurrentExecutions", unreserved}}},
            {"AccountUsage", {{"TotalCodeSize", counts->code_bytes}, {"FunctionCount", counts->functions}}}});
}

}  // namespace snapfaas::gateway
