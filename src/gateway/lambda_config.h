// The members of a function's configuration, as CreateFunction and UpdateFunctionConfiguration take them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/lambda_input.h"
#include "registry/function.h"

namespace snapfaas::gateway {

// Reads into `config` what the request has, and leaves the rest as it is. What is wrong becomes the input's error.
// Whether the node has the runtime is not checked.
void ReadConfig(LambdaInput& input, uint32_t max_memory_mib, registry::FunctionConfig& config);

std::optional<std::vector<std::string>> ReadArchitectures(LambdaInput& input);

}  // namespace snapfaas::gateway
