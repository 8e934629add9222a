// The options that say which microVM, the same in every command.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "faas/spawner.h"
#include "images/runtimefs.h"

namespace snapfaas::cli {

// Says what is wrong with a memory size; nothing when it is right.
inline std::string CheckMemoryOption(const std::string& text) {
  faas::VmSize wanted;
  if (!CLI::detail::lexical_cast(text, wanted.memory_mib)) return "is not a number of MiB";
  const auto valid = faas::CheckVmSize(wanted);
  return valid ? std::string() : valid.error().Message();
}

// The size that was asked for; without --memory that is the smallest that the runtime works in.
struct WantedVmSize {
  std::optional<uint32_t> memory_mib;
  uint32_t vcpus = 1;

  // kInvalidArgument: too small for this runtime.
  Result<faas::VmSize> For(const images::RuntimeRecipe& recipe) const {
    const faas::VmSize size{memory_mib.value_or(recipe.min_memory_mib), vcpus};
    if (size.memory_mib >= recipe.min_memory_mib) return size;
    return Fail(ErrorCode::kInvalidArgument, "the runtime {} needs --memory {} at least", recipe.name,
                recipe.min_memory_mib);
  }
};

// --memory and --vcpus, checked as the command line is read.
inline void AddVmSizeOptions(CLI::App& command, WantedVmSize& size) {
  command
      .add_option("--memory", size.memory_mib,
                  "memory of the microVM in MiB: 128 to 3072 in steps of 128 (else the least that the runtime needs)")
      ->check(CheckMemoryOption);
  command.add_option("--vcpus", size.vcpus, "number of vCPUs: 1 to 8")
      ->capture_default_str()
      ->check(CLI::Range(1U, faas::kMaxVcpus));
}

// The same as lists with commas.
inline void AddVmSizeListOptions(CLI::App& command, std::vector<uint32_t>& memory_mib, std::vector<uint32_t>& vcpus) {
  command
      .add_option("--memory", memory_mib,
                  "memory sizes in MiB: each 128 to 3072 in steps of 128 (else the runtime's least)")
      ->delimiter(',')
      ->check(CheckMemoryOption);
  command.add_option("--vcpus", vcpus, "numbers of vCPUs: each 1 to 8")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1U, faas::kMaxVcpus));
}

}  // namespace snapfaas::cli
