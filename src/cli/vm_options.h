// The options that say which microVM, the same in every command.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "faas/spawner.h"

namespace snapfaas::cli {

// Says what is wrong with a memory size; nothing when it is right.
inline std::string CheckMemoryOption(const std::string& text) {
  faas::VmSize wanted;
  if (!CLI::detail::lexical_cast(text, wanted.memory_mib)) return "is not a number of MiB";
  const auto valid = faas::CheckVmSize(wanted);
  return valid ? std::string() : valid.error().Message();
}

// --memory and --vcpus, checked as the command line is read.
inline void AddVmSizeOptions(CLI::App& command, faas::VmSize& size) {
  command.add_option("--memory", size.memory_mib, "memory of the microVM in MiB: 128 to 3072 in steps of 128")
      ->capture_default_str()
      ->check(CheckMemoryOption);
  command.add_option("--vcpus", size.vcpus, "number of vCPUs: 1 to 8")
      ->capture_default_str()
      ->check(CLI::Range(1U, faas::kMaxVcpus));
}

// The same as lists with commas.
inline void AddVmSizeListOptions(CLI::App& command, std::vector<uint32_t>& memory_mib, std::vector<uint32_t>& vcpus) {
  command.add_option("--memory", memory_mib, "memory sizes in MiB: each 128 to 3072 in steps of 128")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CheckMemoryOption);
  command.add_option("--vcpus", vcpus, "numbers of vCPUs: each 1 to 8")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1U, faas::kMaxVcpus));
}

}  // namespace snapfaas::cli
