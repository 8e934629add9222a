// Runtimes: the language runtimes that functions may name, by our names and by AWS Lambda's. What there is comes from
// the recipes of the runtimes, built or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snapfaas::registry {

struct Runtime {
  std::string name;                       // ours, e.g. "python3"
  std::vector<std::string> lambda_names;  // of Lambda's, those that run on it, e.g. "python3.12"
  uint32_t min_memory_mib = 0;            // of its microVMs
};

class Runtimes {
 public:
  Runtimes() = default;
  explicit Runtimes(std::vector<Runtime> runtimes) : runtimes_(std::move(runtimes)) {}

  // The runtime that functions of this one, named as we or as Lambda do, really run on. Null: nobody knows the name.
  // Where several runtimes take a name of Lambda's it is the first one's.
  const Runtime* Find(std::string_view name) const;
  // Our name of it, or `name` itself where nobody knows it.
  std::string NameOf(std::string_view name) const;

  const std::vector<Runtime>& all() const { return runtimes_; }

 private:
  std::vector<Runtime> runtimes_;
};

}  // namespace snapfaas::registry
