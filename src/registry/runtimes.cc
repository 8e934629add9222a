#include "registry/runtimes.h"

#include <algorithm>
#include <array>

namespace snapfaas::registry {
namespace {

struct LambdaRuntime {
  std::string_view name;
  std::string_view ours;
};

constexpr std::array kLambdaRuntimes = {
    LambdaRuntime{"python3.8", "python3"},
    LambdaRuntime{"python3.9", "python3"},
    LambdaRuntime{"python3.10", "python3"},
    LambdaRuntime{"python3.11", "python3"},
    LambdaRuntime{"python3.12", "python3"},
    LambdaRuntime{"python3.13", "python3"},
    LambdaRuntime{"nodejs16.x", "nodejs"},
    LambdaRuntime{"nodejs18.x", "nodejs"},
    LambdaRuntime{"nodejs20.x", "nodejs"},
    LambdaRuntime{"nodejs22.x", "nodejs"},
    LambdaRuntime{"ruby3.2", "ruby"},
    LambdaRuntime{"ruby3.3", "ruby"},
    LambdaRuntime{"ruby3.4", "ruby"},
    LambdaRuntime{"java11", "java"},
    LambdaRuntime{"java17", "java"},
    LambdaRuntime{"java21", "java"},
    LambdaRuntime{"provided", "native"},
    LambdaRuntime{"provided.al2", "native"},
    LambdaRuntime{"provided.al2023", "native"},
};

constexpr std::array<std::string_view, 10> kOurRuntimes = {"python3", "nodejs", "ruby", "php",  "perl",
                                                           "lua5.4",  "java",   "R",    "bash", "native"};

}  // namespace

std::optional<std::string> RuntimeOf(std::string_view name) {
  if (std::find(kOurRuntimes.begin(), kOurRuntimes.end(), name) != kOurRuntimes.end()) return std::string(name);
  const auto found = std::find_if(kLambdaRuntimes.begin(), kLambdaRuntimes.end(),
                                  [name](const LambdaRuntime& runtime) { return runtime.name == name; });
  if (found == kLambdaRuntimes.end()) return std::nullopt;
  return std::string(found->ours);
}

std::vector<std::string> LambdaNamesOf(std::string_view runtime) {
  std::vector<std::string> names;
  for (const auto& [name, ours] : kLambdaRuntimes) {
    if (ours == runtime) names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> OurRuntimes() { return {kOurRuntimes.begin(), kOurRuntimes.end()}; }

}  // namespace snapfaas::registry
