#include "cli/load_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/bench_support.h"
#include "cli/context.h"
#include "cli/load_deploy.h"
#include "cli/load_plan.h"
#include "cli/load_report.h"
#include "cli/load_runner.h"
#include "cli/node_client.h"
#include "cli/overhead_report.h"

namespace snapfaas::cli {
namespace {

struct ReportOptions {
  std::string endpoint;
  std::filesystem::path json;  // empty: only the terminal
  std::string commit;
  std::string accelerator;
  double timeout_seconds = 60;
};

struct LoadCommandOptions : ReportOptions {
  std::filesystem::path workload;
  std::optional<uint64_t> seed;
  std::string snapshots;  // "on", "off", "both"; empty: as they are
  bool deploy = false;
};

struct OverheadOptions : ReportOptions {
  SequentialCalls calls;
};

void AddReportOptions(CLI::App& command, ReportOptions& options) {
  command.add_option("--endpoint", options.endpoint,
                     "the node's URL (else $SNAPFAAS_ENDPOINT or http://127.0.0.1:8480)");
  command.add_option("--json", options.json, "file for the results, with every request");
  command.add_option("--commit", options.commit, "the commit that is measured, for the results");
  command.add_option("--accelerator", options.accelerator, "what the node runs on, for the results")
      ->check(CLI::IsMember({"kvm", "emulated-host"}));
  command.add_option("--timeout", options.timeout_seconds, "seconds to wait for an answer")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
}

struct Connected {
  NodeClient node;
  LoadTarget target;
};

// Also asks the node how it is, so that a wrong endpoint is found before anything is done.
Result<Connected> Connect(const ReportOptions& options) {
  ClientOptions client;
  client.endpoint = options.endpoint;
  auto node = NodeClient::Connect(client);
  if (!node) return Forward(node.error());
  auto endpoint = ParseEndpoint(node->url());
  if (!endpoint) return Forward(endpoint.error());
  auto state = node->Call("GET", "/v1/node");
  if (!state) return Forward(state.error());
  return Connected{*std::move(node), {*std::move(endpoint), CredentialsOfEnvironment(), ScopeOfEnvironment()}};
}

OrderedJson Head(const char* benchmark, const ReportOptions& options, const LoadTarget& target) {
  OrderedJson head = {{"benchmark", benchmark}, {"endpoint", target.endpoint.url}, {"host", DescribeHost()}};
  if (!options.accelerator.empty()) head["accelerator"] = options.accelerator;
  if (!options.commit.empty()) head["commit"] = options.commit;
  return head;
}

Result<Workload> WorkloadOf(const LoadCommandOptions& options) {
  auto workload = ReadWorkload(options.workload);
  if (workload && options.seed) workload->seed = *options.seed;
  return workload;
}

std::vector<FunctionSnapshots> RunsOf(const std::string& snapshots) {
  if (snapshots == "both") return {FunctionSnapshots::kOff, FunctionSnapshots::kOn};
  if (snapshots == "off") return {FunctionSnapshots::kOff};
  if (snapshots == "on") return {FunctionSnapshots::kOn};
  return {FunctionSnapshots::kAsTheyAre};
}

std::string RunName(FunctionSnapshots snapshots) {
  return snapshots == FunctionSnapshots::kAsTheyAre ? "load" : fmt::format("snapshots {}", NameOf(snapshots));
}

Result<LoadRun> RunOnce(const Connected& connected, const LoadCommandOptions& options, const Context& context,
                        const Workload& workload, const std::vector<Arrival>& plan, FunctionSnapshots snapshots) {
  if (options.deploy) {
    const OldVms old_vms = options.snapshots == "both" ? OldVms::kLeaveBehind : OldVms::kKeep;
    auto deployed = DeployWorkload(connected.node, workload, context.share_dir, snapshots, old_vms,
                                   [](std::string_view text) { fmt::print(stderr, "snapfaas: {}\n", text); });
    if (!deployed) return Forward(deployed.error());
  }
  LoadOptions load;
  load.timeout_seconds = options.timeout_seconds;
  load.progress = [&plan, &workload, name = RunName(snapshots)](const LoadProgress& progress) {
    fmt::print(stderr, "\rsnapfaas: {}: {:.0f} of {:.0f} s, {} of {} requests sent, {} answered ", name,
               std::min(progress.seconds, workload.duration_seconds), workload.duration_seconds, progress.sent,
               plan.size(), progress.answered);
  };
  auto run = RunLoad(connected.target, workload, plan, load);
  fmt::print(stderr, "\n");
  return run;
}

Status WriteLoad(const LoadCommandOptions& options, const LoadTarget& target, const Workload& workload,
                 const std::vector<LoadSummary>& summaries, const std::vector<NamedRun>& runs) {
  if (options.json.empty()) return {};
  OrderedJson head = Head("load", options, target);
  head["workload"] = options.workload.filename().string();
  head["seed"] = workload.seed;
  head["duration_seconds"] = workload.duration_seconds;
  auto& list = head["runs"] = OrderedJson::array();
  for (const LoadSummary& summary : summaries) list.push_back(ToJson(summary));
  if (summaries.size() == 2) head["comparison"] = ComparisonJson(summaries[0], summaries[1]);
  return WriteReport(options.json, WithSamples(head, workload, runs));
}

Result<int> Load(const LoadCommandOptions& options, const Context& context) {
  auto workload = WorkloadOf(options);
  if (!workload) return Forward(workload.error());
  auto plan = MakeArrivals(*workload);
  if (!plan) return Forward(plan.error());
  if (plan->empty()) {
    return Fail(ErrorCode::kInvalidArgument, "the workload comes to no request at all: lower mu, or make it longer");
  }
  auto connected = Connect(options);
  if (!connected) return Forward(connected.error());
  std::vector<LoadSummary> summaries;
  std::vector<NamedRun> runs;
  for (const FunctionSnapshots snapshots : RunsOf(options.snapshots)) {
    auto run = RunOnce(*connected, options, context, *workload, *plan, snapshots);
    if (!run) return Forward(run.error());
    summaries.push_back(Summarize(RunName(snapshots), *workload, *run));
    runs.push_back({RunName(snapshots), *std::move(run)});
    fmt::print("{}\n", Describe(summaries.back()));
    std::fflush(stdout);
  }
  if (summaries.size() == 2) fmt::print("{}", Comparison(summaries[0], summaries[1]));
  auto written = WriteLoad(options, connected->target, *workload, summaries, runs);
  if (!written) return Forward(written.error());
  return summaries.back().outcomes.succeeded > 0 ? kExitOk : kExitFunctionFailed;
}

Result<int> Overhead(const OverheadOptions& options) {
  if (!OrderedJson::accept(options.calls.event)) {
    return Fail(ErrorCode::kInvalidArgument, "the event is no JSON: {}", options.calls.event);
  }
  auto connected = Connect(options);
  if (!connected) return Forward(connected.error());
  SequentialCalls calls = options.calls;
  calls.timeout_seconds = options.timeout_seconds;
  auto samples = RunSequentially(connected->target, calls);
  if (!samples) return Forward(samples.error());
  const OverheadSummary summary = SummarizeOverhead(*samples);
  if (summary.client.count == 0) {
    return Fail(ErrorCode::kUnavailable,
                "none of {} calls of {} found its microVM waiting: is the node short of memory?", samples->size(),
                calls.function);
  }
  fmt::print("{}: {} calls, one after the other on one connection\n\n{}", calls.function, samples->size(),
             Describe(summary));
  if (options.json.empty()) return kExitOk;
  OrderedJson head = Head("overhead", options, connected->target);
  head["function"] = calls.function;
  head["runs"] = samples->size();
  head["summary"] = ToJson(summary);
  Workload workload;
  workload.functions.emplace_back().name = calls.function;
  LoadRun run;
  run.samples = *std::move(samples);
  std::vector<NamedRun> runs;
  runs.push_back({"overhead", std::move(run)});
  auto written = WriteReport(options.json, WithSamples(head, workload, runs));
  if (!written) return Forward(written.error());
  return kExitOk;
}

// As the client commands have it.
int ExitCodeOf(const Result<int>& code) {
  if (code) return *code;
  const int failure = ReportFailure(code.error());
  return code.error().code == ErrorCode::kInvalidArgument ? kExitUsage : failure;
}

void AddLoad(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  auto options = std::make_shared<LoadCommandOptions>();
  auto* command = bench.add_subcommand("load", "Send a workload to a running node, and see how it copes");
  command->fallthrough();
  command->add_option("workload", options->workload, "its file, YAML (docs/workloads.md)")->required();
  AddReportOptions(*command, *options);
  command->add_option("--seed", options->seed, "instead of the workload's own");
  auto* deploy = command->add_flag("--deploy", options->deploy, "deploy the functions of the workload first");
  command
      ->add_option("--snapshots", options->snapshots,
                   "deploy with or without snapshots of the functions; both: one run each, and how they compare")
      ->check(CLI::IsMember({"on", "off", "both"}))
      ->needs(deploy);
  command->callback([options, context = std::move(context), &exit_code] {
    auto found = context();
    exit_code = ExitCodeOf(found ? Load(*options, *found) : Result<int>(Forward(found.error())));
  });
}

void AddOverhead(CLI::App& bench, int& exit_code) {
  auto options = std::make_shared<OverheadOptions>();
  auto* command = bench.add_subcommand("overhead", "What a node adds to a warm call");
  command->fallthrough();
  command->add_option("name", options->calls.function, "a deployed function")->required();
  AddReportOptions(*command, *options);
  command->add_option("--event", options->calls.event, "the request, JSON")->capture_default_str();
  command->add_option("--runs", options->calls.runs, "number of calls")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->callback([options, &exit_code] { exit_code = ExitCodeOf(Overhead(*options)); });
}

}  // namespace

void AddLoadCommands(CLI::App& bench, std::function<Result<Context>()> context, int& exit_code) {
  AddLoad(bench, std::move(context), exit_code);
  AddOverhead(bench, exit_code);
}

}  // namespace snapfaas::cli
