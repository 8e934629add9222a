#include "registry/codec.h"

#include "base/json.h"

namespace snapfaas::registry {
namespace {

// `read` may throw what the JSON library throws.
template <typename T, typename Read>
Result<T> Decode(const std::string& text, const char* what, const Read& read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& error) {
    return Fail(ErrorCode::kCorrupt, "the function registry has a damaged {}: {}", what, error.what());
  }
}

// Never throws: what is no UTF-8 is replaced.
std::string Encode(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json ConfigToJson(const FunctionConfig& config) {
  return {{"runtime", config.runtime},
          {"handler", config.handler},
          {"role", config.role},
          {"description", config.description},
          {"timeout_s", config.timeout_s},
          {"memory_mib", config.memory_mib},
          {"environment", config.environment},
          {"snap_start", config.snap_start == SnapStart::kPublishedVersions},
          {"reset", config.isolation == Isolation::kReset},
          {"architectures", config.architectures},
          {"dead_letter_arn", config.dead_letter_arn},
          {"tracing_mode", config.tracing_mode},
          {"ephemeral_storage_mib", config.ephemeral_storage_mib}};
}

FunctionConfig ConfigFromJson(const Json& json) {
  FunctionConfig config;
  json.at("runtime").get_to(config.runtime);
  json.at("handler").get_to(config.handler);
  json.at("role").get_to(config.role);
  json.at("description").get_to(config.description);
  json.at("timeout_s").get_to(config.timeout_s);
  json.at("memory_mib").get_to(config.memory_mib);
  json.at("environment").get_to(config.environment);
  config.snap_start = json.at("snap_start").get<bool>() ? SnapStart::kPublishedVersions : SnapStart::kNone;
  config.isolation = json.at("reset").get<bool>() ? Isolation::kReset : Isolation::kReuse;
  json.at("architectures").get_to(config.architectures);
  json.at("dead_letter_arn").get_to(config.dead_letter_arn);
  json.at("tracing_mode").get_to(config.tracing_mode);
  json.at("ephemeral_storage_mib").get_to(config.ephemeral_storage_mib);
  return config;
}

}  // namespace

std::string EncodeConfig(const FunctionConfig& config) { return Encode(ConfigToJson(config)); }

Result<FunctionConfig> DecodeConfig(const std::string& text) {
  return Decode<FunctionConfig>(text, "configuration", ConfigFromJson);
}

std::string EncodeDeployed(const std::optional<Deployed>& deployed) {
  if (!deployed) return "";
  return Encode(Json{{"image", deployed->image},
                     {"config", ConfigToJson(deployed->config)},
                     {"code_sha256", deployed->code.sha256},
                     {"code_size", deployed->code.size}});
}

Result<std::optional<Deployed>> DecodeDeployed(const std::string& text) {
  if (text.empty()) return std::optional<Deployed>();
  return Decode<std::optional<Deployed>>(text, "deployment", [](const Json& json) {
    return Deployed{
        json.at("image"), ConfigFromJson(json.at("config")), {json.at("code_sha256"), json.at("code_size")}};
  });
}

std::string EncodeWeights(const std::map<std::string, double>& weights) { return Encode(Json(weights)); }
Result<std::map<std::string, double>> DecodeWeights(const std::string& text) {
  using Weights = std::map<std::string, double>;
  return Decode<Weights>(text, "alias", [](const Json& json) { return json.get<Weights>(); });
}

std::string EncodeTags(const std::map<std::string, std::string>& tags) { return Encode(Json(tags)); }
Result<std::map<std::string, std::string>> DecodeTags(const std::string& text) {
  using Tags = std::map<std::string, std::string>;
  return Decode<Tags>(text, "set of tags", [](const Json& json) { return json.get<Tags>(); });
}

std::string EncodeCors(const std::optional<Cors>& cors) {
  if (!cors) return "";
  return Encode(Json{{"allow_credentials", cors->allow_credentials},
                     {"allow_headers", cors->allow_headers},
                     {"allow_methods", cors->allow_methods},
                     {"allow_origins", cors->allow_origins},
                     {"expose_headers", cors->expose_headers},
                     {"max_age_s", cors->max_age_s}});
}

Result<std::optional<Cors>> DecodeCors(const std::string& text) {
  if (text.empty()) return std::optional<Cors>();
  return Decode<std::optional<Cors>>(text, "function URL", [](const Json& json) {
    Cors cors;
    json.at("allow_credentials").get_to(cors.allow_credentials);
    json.at("allow_headers").get_to(cors.allow_headers);
    json.at("allow_methods").get_to(cors.allow_methods);
    json.at("allow_origins").get_to(cors.allow_origins);
    json.at("expose_headers").get_to(cors.expose_headers);
    json.at("max_age_s").get_to(cors.max_age_s);
    return cors;
  });
}

std::string EncodeStatements(const std::vector<PolicyStatement>& statements) {
  Json json = Json::array();
  for (const auto& statement : statements) json.push_back({{"id", statement.id}, {"json", statement.json}});
  return Encode(json);
}

Result<std::vector<PolicyStatement>> DecodeStatements(const std::string& text) {
  return Decode<std::vector<PolicyStatement>>(text, "policy", [](const Json& json) {
    std::vector<PolicyStatement> statements;
    for (const auto& statement : json) statements.push_back({statement.at("id"), statement.at("json")});
    return statements;
  });
}

}  // namespace snapfaas::registry
