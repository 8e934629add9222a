#include "registry/runtimes.h"

#include <algorithm>

namespace snapfaas::registry {

const Runtime* Runtimes::Find(std::string_view name) const {
  const auto ours = std::find_if(runtimes_.begin(), runtimes_.end(), [&](const Runtime& r) { return r.name == name; });
  if (ours != runtimes_.end()) return &*ours;
  const auto takes = [name](const Runtime& runtime) {
    const auto& names = runtime.lambda_names;
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto stand_in = std::find_if(runtimes_.begin(), runtimes_.end(), takes);
  return stand_in == runtimes_.end() ? nullptr : &*stand_in;
}

std::string Runtimes::NameOf(std::string_view name) const {
  const Runtime* runtime = Find(name);
  return runtime == nullptr ? std::string(name) : runtime->name;
}

}  // namespace snapfaas::registry
