#include "cli/host_commands.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "base/json.h"
#include "cli/host_image.h"
#include "host/kvm_probe.h"
#include "images/kernel.h"
#include "images/runtime_store.h"

namespace snapfaas::cli {
namespace {

using host::EmulatedHost;
using host::HostStatus;

enum class Output { kText, kJson };

// Standard output belongs to the command that is run.
void TellProgress(std::string_view line) { fmt::print(stderr, "snapfaas: {}\n", line); }

std::function<Result<host::HostImages>()> ImagesOf(const Context& context) {
  return [context] { return PrepareHostImages(context, TellProgress); };
}

// Replaces this process.
Result<int> ExecHere(std::vector<std::string> argv) {
  std::vector<char*> pointers;
  for (auto& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  constexpr int kNotFound = 127;
  constexpr int kNotExecutable = 126;
  const int cause = errno;
  fmt::print(stderr, "snapfaas: {}: {}\n", argv[0], strerror(cause));
  return cause == ENOENT ? kNotFound : kNotExecutable;
}

void PrintStatus(const HostStatus& status, Output output) {
  const bool running = status.state == HostStatus::State::kRunning;
  if (output == Output::kJson) {
    nlohmann::json json{{"running", running}, {"died", status.state == HostStatus::State::kDied}};
    if (running) {
      json.update({{"pid", status.pid},
                   {"port", status.port},
                   {"memory_mib", status.memory_mib},
                   {"started_unix", status.started_unix}});
    }
    fmt::print("{}\n", json.dump());
    return;
  }
  if (running) {
    fmt::print("the emulated host is running: process {}, exec server at 127.0.0.1:{}, {} MiB\n", status.pid,
               status.port, status.memory_mib);
  } else if (status.state == HostStatus::State::kDied) {
    fmt::print("the emulated host had ended by itself; its remains were cleaned up{}\n", status.last_console);
  } else {
    fmt::print("the emulated host is not running\n");
  }
}

Result<int> StartHost(const Context& context, host::HostClock clock) {
  const auto started = HostOf(context).Start(ImagesOf(context), TellProgress, clock);
  if (!started) return Forward(started.error());
  PrintStatus(*started, Output::kText);
  return kExitOk;
}

Result<int> StopHost(const Context& context) {
  if (auto status = HostOf(context).Stop(); !status) return Forward(status.error());
  return kExitOk;
}

Result<int> ShowHostStatus(const Context& context, Output output) {
  const auto status = HostOf(context).Query();
  if (!status) return Forward(status.error());
  PrintStatus(*status, output);
  return status->state == HostStatus::State::kRunning ? kExitOk : kExitFailure;
}

enum class Where { kAnywhere, kEmulatedHost };

Result<int> Exec(const Context& context, std::vector<std::string> argv, const std::vector<std::string>& shares,
                 Where where) {
  const bool here = host::InsideEmulatedHost() || (where == Where::kAnywhere && host::KvmUsable(host::ProbeKvm()));
  if (here) return ExecHere(std::move(argv));
  std::vector<std::filesystem::path> folders;
  for (const auto& share : shares) folders.push_back(std::filesystem::absolute(share));
  return RunInEmulatedHost(context, std::move(argv), folders);
}

// What every microVM in the emulated host reads again: through the shared folders a program of 5 MB takes 0.3 s to
// start, from memory 0.02 s.
std::vector<std::filesystem::path> ResidentFiles(const Context& context) {
  std::vector<std::filesystem::path> files{context.bin_dir / "snapfaas", context.bin_dir / "snapfaas-vmm",
                                           context.bin_dir / "snapfaasd"};
  if (const auto kernel = images::FindKernel(context.data_dir, images::KernelFlavor::kGuest); kernel) {
    for (const char* name : {"vmlinuz", "vmlinux"}) files.push_back(kernel->dir / name);
  }
  std::error_code ignored;
  for (const auto& runtime : std::filesystem::directory_iterator(context.data_dir / "runtimes", ignored)) {
    for (const char* name : {images::kRootfsFile, images::kInitramfsFile}) files.push_back(runtime.path() / name);
  }
  return files;
}

}  // namespace

void AddHostCommands(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto* group = app.add_subcommand("host", "Run commands where KVM is usable: here, or in the emulated host");
  group->require_subcommand(1);
  const auto callback = [&](auto action) { return KeepExitCode(context, std::move(action), exit_code); };

  struct ExecOptions {
    std::vector<std::string> command;
    std::vector<std::string> shares;
    bool emulated = false;
  };
  auto options = std::make_shared<ExecOptions>();
  auto* exec = group->add_subcommand("exec", "Run a command where KVM is usable, starting the emulated host if needed");
  exec->footer("snapfaas host exec [--share DIR]... [--emulated] -- COMMAND [ARGUMENT]...");
  exec->add_option("--share", options->shares, "Another folder to be live and writable in the emulated host")
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::ExistingDirectory);
  exec->add_flag("--emulated", options->emulated, "Use the emulated host even where KVM is usable");
  exec->add_option("command", options->command, "The command and its arguments, after --")->required();
  exec->positionals_at_end();
  exec->callback(callback([options](const Context& made) {
    const Where where = options->emulated ? Where::kEmulatedHost : Where::kAnywhere;
    return Exec(made, options->command, options->shares, where);
  }));

  auto own_clock = std::make_shared<bool>(false);
  auto* start = group->add_subcommand("start", "Start the emulated host; it runs until 'host stop'");
  start->add_flag(
      "--own-clock", *own_clock,
      "Its clock counts instructions: what is measured in it does not depend on what else this machine does");
  start->callback(callback([own_clock](const Context& made) {
    return StartHost(made, *own_clock ? host::HostClock::kInstructions : host::HostClock::kReal);
  }));
  group->add_subcommand("stop", "Power the emulated host off")->callback(callback(StopHost));

  auto json = std::make_shared<bool>(false);
  auto* status = group->add_subcommand("status", "Say whether the emulated host is running; exit code 1 if not");
  status->add_flag("--json", *json, "Print JSON");
  status->callback(
      callback([json](const Context& made) { return ShowHostStatus(made, *json ? Output::kJson : Output::kText); }));
}

host::EmulatedHost HostOf(const Context& context) { return EmulatedHost(context.data_dir / "host"); }

Status StartEmulatedHost(const Context& context) {
  const auto started = HostOf(context).Start(ImagesOf(context), TellProgress);
  if (!started) return Forward(started.error());
  return {};
}

Result<int> RunInEmulatedHost(const Context& context, std::vector<std::string> argv,
                              const std::vector<std::filesystem::path>& shares) {
  std::error_code failure;
  std::filesystem::create_directories(context.data_dir, failure);
  if (failure) return FailErrno(failure.value(), "making the data folder {}", context.data_dir.string());
  host::SharedPaths shared{shares, ResidentFiles(context)};
  shared.folders.insert(shared.folders.end(), {context.data_dir, context.bin_dir, context.share_dir});
  return host::ExecInEmulatedHost(HostOf(context), ImagesOf(context), std::move(argv), shared, TellProgress);
}

}  // namespace snapfaas::cli
