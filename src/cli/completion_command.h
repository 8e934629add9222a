// snapfaas completion bash|zsh|fish: what a shell needs to complete this program's commands and options, made of the
// very tree that parses them.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace snapfaas::cli {

void AddCompletionCommand(CLI::App& app, int& exit_code);

// The scripts, of the commands below `root`.
std::string BashCompletion(const CLI::App& root);
std::string ZshCompletion(const CLI::App& root);
std::string FishCompletion(const CLI::App& root);

}  // namespace snapfaas::cli
