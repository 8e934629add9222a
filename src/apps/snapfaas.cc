// snapfaas: the command line.
#include <CLI/CLI.hpp>

#include <string>

#include "cli/bench_command.h"
#include "cli/completion_command.h"
#include "cli/context.h"
#include "cli/deploy_command.h"
#include "cli/doctor_command.h"
#include "cli/function_commands.h"
#include "cli/host_commands.h"
#include "cli/invoke_command.h"
#include "cli/node_commands.h"
#include "cli/run_command.h"
#include "cli/runtime_command.h"
#include "cli/simulate_command.h"
#include "cli/up_command.h"

namespace cli = snapfaas::cli;

int main(int argc, char** argv) {
  CLI::App app("SnapFaaS: functions in microVMs that are restored from snapshots", "snapfaas");
  app.require_subcommand(1);
  app.fallthrough();
  std::string data;
  app.add_option("--data", data,
                 "folder for runtimes and snapshots (else $SNAPFAAS_DATA, $XDG_DATA_HOME/snapfaas or "
                 "~/.local/share/snapfaas)");
  const auto context = [&data] { return cli::MakeContext(data); };
  int exit_code = cli::kExitOk;
  cli::AddDeployCommand(app, context, exit_code);
  cli::AddInvokeCommand(app, exit_code);
  cli::AddFunctionCommands(app, exit_code);
  cli::AddNodeCommands(app, exit_code);
  cli::AddNodeLifeCommands(app, context, exit_code);
  cli::AddRunCommand(app, context, exit_code);
  cli::AddRuntimeCommands(app, context, exit_code);
  cli::AddBenchCommands(app, context, exit_code);
  cli::AddSimulateCommand(app, exit_code);
  cli::AddHostCommands(app, context, exit_code);
  cli::AddDoctorCommand(app, context, exit_code);
  cli::AddCompletionCommand(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  return exit_code;
}
