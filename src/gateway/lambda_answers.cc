#include "gateway/lambda_answers.h"

#include <fmt/format.h>

#include <ctime>

#include "registry/code_store.h"

namespace snapfaas::gateway {
namespace {

std::string TimeText(int64_t unix_ms, const char* zone) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, unix_ms % 1000, zone);
}

void PutState(Json& json, const registry::FunctionVersion& version) {
  json["State"] = registry::StateName(version.state);
  if (!version.state_reason.empty()) json["StateReason"] = version.state_reason;
  if (!version.state_reason_code.empty()) json["StateReasonCode"] = version.state_reason_code;
  if (version.update_status == registry::UpdateStatus::kNone) return;
  json["LastUpdateStatus"] = registry::UpdateStatusName(version.update_status);
  if (!version.update_reason.empty()) json["LastUpdateStatusReason"] = version.update_reason;
  if (!version.update_reason_code.empty()) json["LastUpdateStatusReasonCode"] = version.update_reason_code;
}

Json CorsAnswer(const registry::Cors& cors) {
  Json json = Json::object();
  const auto put = [&json](const char* name, const std::vector<std::string>& values) {
    if (!values.empty()) json[name] = values;
  };
  if (cors.allow_credentials) json["AllowCredentials"] = true;
  put("AllowHeaders", cors.allow_headers);
  put("AllowMethods", cors.allow_methods);
  put("AllowOrigins", cors.allow_origins);
  put("ExposeHeaders", cors.expose_headers);
  if (cors.max_age_s != 0) json["MaxAge"] = cors.max_age_s;
  return json;
}

Json DestinationAnswer(const std::string& arn) { return arn.empty() ? Json::object() : Json{{"Destination", arn}}; }

}  // namespace

std::string LastModifiedText(int64_t unix_ms) { return TimeText(unix_ms, "+0000"); }
std::string Iso8601Text(int64_t unix_ms) { return TimeText(unix_ms, "Z"); }

Json ConfigurationAnswer(const registry::FunctionVersion& version, const LambdaPlace& place, std::string_view qualifier,
                         OwnSnapshot snapshot, const registry::Runtimes& runtimes) {
  const registry::Runtime* runtime = runtimes.Find(version.config.runtime);
  const auto& config = version.config;
  const bool snap_start = config.snap_start == registry::SnapStart::kPublishedVersions;
  Json json = {
      {"FunctionName", version.function},
      {"FunctionArn", FunctionArn(place, version.function, qualifier)},
      {"Runtime", config.runtime},
      {"Role", config.role},
      {"Handler", config.handler},
      {"CodeSize", version.code.size},
      {"CodeSha256", registry::CodeSha256(version.code)},
      {"Description", config.description},
      {"Timeout", config.timeout_s},
      {"MemorySize", config.memory_mib},
      {"LastModified", LastModifiedText(version.last_modified_unix_ms)},
      {"Version", version.version},
      {"RevisionId", version.revision},
      {"PackageType", "Zip"},
      {"Architectures", config.architectures},
      {"TracingConfig", {{"Mode", config.tracing_mode}}},
      {"EphemeralStorage", {{"Size", config.ephemeral_storage_mib}}},
      {"SnapStart",
       {{"ApplyOn", snap_start ? "PublishedVersions" : "None"},
        {"OptimizationStatus", snapshot == OwnSnapshot::kInUse ? "On" : "Off"}}},
      {"SnapFaaS",
       {{"Isolation", config.isolation == registry::Isolation::kReset ? "Reset" : "Reuse"},
        {"Runtime", runtime == nullptr ? "" : runtime->name}}},
  };
  if (!config.environment.empty()) json["Environment"] = {{"Variables", config.environment}};
  if (!config.dead_letter_arn.empty()) json["DeadLetterConfig"] = {{"TargetArn", config.dead_letter_arn}};
  PutState(json, version);
  return json;
}

Json AliasAnswer(const registry::Alias& alias, const LambdaPlace& place) {
  Json json = {{"AliasArn", FunctionArn(place, alias.function, alias.name)},
               {"Name", alias.name},
               {"FunctionVersion", alias.version},
               {"Description", alias.description},
               {"RevisionId", alias.revision}};
  if (!alias.additional_weights.empty()) {
    json["RoutingConfig"] = {{"AdditionalVersionWeights", alias.additional_weights}};
  }
  return json;
}

Json EventInvokeConfigAnswer(const registry::EventInvokeConfig& config, const LambdaPlace& place) {
  Json json = {
      {"FunctionArn", FunctionArn(place, config.function, config.qualifier)},
      {"LastModified", static_cast<double>(config.last_modified_unix_ms) / 1000},
      {"DestinationConfig",
       {{"OnSuccess", DestinationAnswer(config.on_success)}, {"OnFailure", DestinationAnswer(config.on_failure)}}}};
  if (config.max_retry_attempts) json["MaximumRetryAttempts"] = *config.max_retry_attempts;
  if (config.max_event_age_s) json["MaximumEventAgeInSeconds"] = *config.max_event_age_s;
  return json;
}

Json FunctionUrlAnswer(const registry::FunctionUrl& url, const LambdaPlace& place, const std::string& url_template) {
  std::string text = url_template;
  constexpr std::string_view kId = "{id}";
  if (const size_t at = text.find(kId); at != std::string::npos) text.replace(at, kId.size(), url.id);
  const auto qualifier = url.qualifier == registry::kLatest ? std::string_view() : std::string_view(url.qualifier);
  Json json = {{"FunctionUrl", text},
               {"FunctionArn", FunctionArn(place, url.function, qualifier)},
               {"AuthType", url.auth == registry::UrlAuth::kNone ? "NONE" : "AWS_IAM"},
               {"InvokeMode", "BUFFERED"},
               {"CreationTime", Iso8601Text(url.created_unix_ms)}};
  if (url.cors) json["Cors"] = CorsAnswer(*url.cors);
  return json;
}

}  // namespace snapfaas::gateway
