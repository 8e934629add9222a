// The registry's JSON columns. kCorrupt: the text is not what was written.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/function.h"

namespace snapfaas::registry {

std::string EncodeConfig(const FunctionConfig& config);
Result<FunctionConfig> DecodeConfig(const std::string& text);

// Nothing is "".
std::string EncodeDeployed(const std::optional<Deployed>& deployed);
Result<std::optional<Deployed>> DecodeDeployed(const std::string& text);

std::string EncodeWeights(const std::map<std::string, double>& weights);
Result<std::map<std::string, double>> DecodeWeights(const std::string& text);

std::string EncodeTags(const std::map<std::string, std::string>& tags);
Result<std::map<std::string, std::string>> DecodeTags(const std::string& text);

// Nothing is "".
std::string EncodeCors(const std::optional<Cors>& cors);
Result<std::optional<Cors>> DecodeCors(const std::string& text);

std::string EncodeStatements(const std::vector<PolicyStatement>& statements);
Result<std::vector<PolicyStatement>> DecodeStatements(const std::string& text);

}  // namespace snapfaas::registry
