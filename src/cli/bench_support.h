// What the measurements share: their options, one boot, a shell for one restore, the host's description, the results
// as a file.
#pragma once

#include <fmt/format.h>
#include <sys/types.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/result.h"
#include "cli/breakdown_report.h"
#include "cli/context.h"
#include "cli/runtime_access.h"
#include "faas/launcher.h"
#include "faas/shell_pool.h"
#include "faas/spawner.h"

namespace snapfaas::cli {

struct BenchOptions {
  std::string runtime;
  std::filesystem::path app;
  std::filesystem::path appfs_in;  // where the function's image lies; empty: with temporary files
  std::string event = "{}";
  uint32_t boots = 5;
  std::filesystem::path json;  // empty: only the terminal
  std::string commit;
};
void AddBenchOptions(CLI::App& command, BenchOptions& options);

// Checks runtime and app, and calls `here` where this machine's KVM is usable, else forwards the command line into the
// emulated host.
Result<int> RunBench(const Context& context, const BenchOptions& options,
                     const std::function<Result<int>(const OpenedRuntime& runtime)>& here);

// The function's image for one more microVM.
Result<faas::FunctionFiles> FunctionOf(int appfs_fd);

inline constexpr double kRequestTimeoutSeconds = 60;

// The answer's payload. An exception of the function is an error here.
Result<std::string> ResultOf(Result<faas::Response> response);
Result<std::string> InvokeOnce(faas::MicroVm& vm, const std::string& event);

// Of a time line that cannot be broken down.
tl::unexpected<Error> MissingMarks();

// A boot and its first request.
Result<Phases> BootOnce(faas::Spawner& spawner, const OpenedRuntime& runtime, const faas::VmSize& size, int appfs_fd,
                        const std::string& event);

// A shell from the pool, once it is full of this kind, and when it was asked for: from then on a restore is timed.
struct Claim {
  int64_t asked_ns = 0;
  faas::ShellPool::Taken taken;
};
Result<Claim> ClaimShell(faas::ShellPool& pool, const faas::ShellKind& kind, int64_t deadline_ns);

// The results of `times` calls, with their number on standard error meanwhile.
template <typename RunOnce>
Status Repeat(std::string_view what, uint32_t times, RunOnce run_once) {
  for (uint32_t i = 0; i < times; ++i) {
    fmt::print(stderr, "\rsnapfaas: {} {}/{} ", what, i + 1, times);
    Status run = run_once();
    if (!run) {
      fmt::print(stderr, "\n");
      return Forward(run.error(), fmt::format("{} {}", what, i + 1));
    }
  }
  fmt::print(stderr, "\n");
  return {};
}

nlohmann::ordered_json DescribeHost();
// "kvm" or "emulated-host".
std::string AcceleratorName();

Status WriteReport(const std::filesystem::path& path, const std::string& text);

}  // namespace snapfaas::cli
