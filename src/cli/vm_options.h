// The options that say which microVM, the same in every command.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

#include "faas/spawner.h"

namespace snapfaas::cli {

// --memory and --vcpus, checked as the command line is read.
inline void AddVmSizeOptions(CLI::App& command, faas::VmSize& size) {
  command.add_option("--memory", size.memory_mib, "memory of the microVM in MiB: 128 to 3072 in steps of 128")
      ->capture_default_str()
      ->check([](const std::string& text) {
        faas::VmSize wanted;
        if (!CLI::detail::lexical_cast(text, wanted.memory_mib)) return std::string("is not a number of MiB");
        const auto valid = faas::CheckVmSize(wanted);
        return valid ? std::string() : valid.error().Message();
      });
  command.add_option("--vcpus", size.vcpus, "number of vCPUs: 1 to 8")
      ->capture_default_str()
      ->check(CLI::Range(1U, faas::kMaxVcpus));
}

}  // namespace snapfaas::cli
