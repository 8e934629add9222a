// Runtime names: AWS Lambda's, and the runtimes of ours that stand in for them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snapfaas::registry {

// The runtime of ours that functions of this runtime really run on: of "python3.12" it is "python3". Our own names are
// taken too. Nothing: neither knows the name.
std::optional<std::string> RuntimeOf(std::string_view name);

// Lambda's names that this runtime of ours stands in for.
std::vector<std::string> LambdaNamesOf(std::string_view runtime);

// All of ours.
std::vector<std::string> OurRuntimes();

}  // namespace snapfaas::registry
