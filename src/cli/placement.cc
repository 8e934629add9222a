#include "cli/placement.h"

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "cli/host_commands.h"
#include "host/kvm_probe.h"

namespace snapfaas::cli {
namespace {

Result<std::vector<std::string>> ThisCommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string> arguments;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = rest.find('\0');
    arguments.emplace_back(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  if (arguments.empty()) return Fail(ErrorCode::kSystem, "reading /proc/self/cmdline failed");
  auto executable = ExecutablePath();
  if (!executable) return Forward(executable.error());
  arguments.front() = executable->string();
  return arguments;
}

}  // namespace

Result<Placement> ChoosePlacement() {
  const auto probe = host::ProbeKvm();
  if (host::KvmUsable(probe)) return Placement::kHere;
  if (!host::InsideEmulatedHost()) return Placement::kEmulatedHost;
  return Fail(ErrorCode::kUnavailable, "KVM does not work in the emulated host: {}", host::Describe(probe));
}

Result<int> ForwardThisCommand(const Context& context, const std::vector<std::filesystem::path>& shares) {
  auto arguments = ThisCommandLine();
  if (!arguments) return Forward(arguments.error());
  std::vector<std::filesystem::path> folders;
  for (const auto& share : shares) folders.push_back(std::filesystem::absolute(share).lexically_normal());
  return RunInEmulatedHost(context, std::move(*arguments), folders);
}

}  // namespace snapfaas::cli
