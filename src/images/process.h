// Runs the programs of others (apt, dpkg-deb, mmdebstrap, mkfs.erofs) and says which one failed, and how.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace snapfaas::images {

struct ProgramOptions {
  std::string folder = {};                                            // working folder; empty: the caller's
  std::vector<std::pair<std::string, std::string>> environment = {};  // set on top of the caller's
  std::function<void(std::string_view line)> on_line = {};            // each line of output as it comes
};

// Runs a program, found by PATH, with its standard error joined to its standard output and nothing to read; returns
// what it wrote, the last megabyte at most. The program is killed if this process ends. kUnavailable: not installed;
// kSystem: it failed, with its last lines.
Result<std::string> RunProgram(const std::vector<std::string>& arguments, const ProgramOptions& options = {});

}  // namespace snapfaas::images
