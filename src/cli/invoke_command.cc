#include "cli/invoke_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/json.h"
#include "cli/context.h"
#include "cli/node_client.h"
#include "http/url.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

// Longer than any time limit of a function and its wait for a microVM.
constexpr double kInvokePatienceSeconds = 1000;

struct InvokeOptions {
  std::shared_ptr<ClientOptions> client = std::make_shared<ClientOptions>();
  std::string name;
  std::string data = "{}";
  std::string qualifier;
  bool is_async = false;
  bool timings = false;
  bool log = false;
};

Result<std::string> ReadEvent(const std::string& data) {
  Result<std::string> event = data;
  if (data == "-") {
    event = std::string(std::istreambuf_iterator<char>(std::cin), {});
  } else if (data.starts_with('@')) {
    event = images::ReadWholeFile(data.substr(1));
  }
  if (!event) return event;
  if (!Json::accept(*event)) {
    return Fail(ErrorCode::kInvalidArgument,
                "the event is not JSON: give --data '{{\"key\": 1}}', @FILE or - for standard input");
  }
  return event;
}

// From the reply's fields: {"start": "idle", "snapshot": "function", "queued_ms": 0.1, ...}.
Json TimingsOf(const HttpReply& reply) {
  Json timings = Json::object();
  for (const auto& [key, field] : {std::pair{"start", "X-SnapFaaS-Start"}, {"snapshot", "X-SnapFaaS-Snapshot"}}) {
    if (std::string value = reply.Header(field); !value.empty()) timings[key] = std::move(value);
  }
  for (const char* phase : {"Queued", "Restore", "Load", "Run", "Total"}) {
    const Json value = Json::parse(reply.Header(fmt::format("X-SnapFaaS-{}-Ms", phase)), nullptr, false);
    if (value.is_number()) timings[http::ToLower(phase) + "_ms"] = value;
  }
  return timings;
}

void PrintTimings(const Json& timings) {
  std::string line = TextOf(timings, "start");
  if (const std::string from = TextOf(timings, "snapshot"); !from.empty()) line += fmt::format(", {} snapshot", from);
  line += ":";
  for (const char* phase : {"queued", "restore", "load", "run", "total"}) {
    const std::string key = fmt::format("{}_ms", phase);
    if (timings.contains(key)) line += fmt::format(" {} {:.2f} ms", phase, NumberOf(timings, key.c_str()));
  }
  fmt::print(stderr, "{}\n", line);
}

void PrintLine(FILE* stream, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  if (!text.ends_with('\n')) std::fputc('\n', stream);
  std::fflush(stream);
}

std::string LogOf(const HttpReply& reply) {
  auto log = DecodeBase64(reply.Header("X-Amz-Log-Result"));
  return log ? *log : std::string();
}

void PrintAll(const InvokeOptions& options, const HttpReply& reply, const std::string& function_error) {
  Json all = {{"status", reply.status}};
  for (const auto& [key, field] :
       {std::pair{"request_id", "x-amzn-RequestId"}, {"executed_version", "X-Amz-Executed-Version"}}) {
    if (std::string value = reply.Header(field); !value.empty()) all[key] = std::move(value);
  }
  if (!function_error.empty()) all["function_error"] = function_error;
  if (!reply.body.empty()) all["payload"] = Json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (options.log) all["log"] = LogOf(reply);
  if (Json timings = TimingsOf(reply); !timings.empty()) all["timings"] = std::move(timings);
  PrintJson(all);
}

void PrintParts(const InvokeOptions& options, const HttpReply& reply, bool has_failed) {
  if (options.log) PrintLine(stderr, LogOf(reply));
  if (options.is_async) {
    fmt::print("accepted as {}\n", reply.Header("x-amzn-RequestId"));
  } else {
    PrintLine(has_failed ? stderr : stdout, reply.body);
  }
  if (options.timings) PrintTimings(TimingsOf(reply));
}

Result<int> Invoke(const NodeClient& node, const InvokeOptions& options) {
  auto event = ReadEvent(options.data);
  if (!event) return Forward(event.error());
  HttpCall call{.method = "POST",
                .target = FunctionPath(options.name, "/invocations"),
                .body = *std::move(event),
                .timeout_seconds = kInvokePatienceSeconds};
  if (!options.qualifier.empty()) call.target += "?Qualifier=" + http::PercentEncode(options.qualifier);
  call.headers.emplace_back("Content-Type", "application/json");
  call.headers.emplace_back("X-Amz-Invocation-Type", options.is_async ? "Event" : "RequestResponse");
  if (options.log) call.headers.emplace_back("X-Amz-Log-Type", "Tail");
  auto reply = node.Send(call);
  if (!reply) return Forward(reply.error());
  const std::string function_error = reply->Header("X-Amz-Function-Error");
  if (options.client->json) {
    PrintAll(options, *reply, function_error);
  } else {
    PrintParts(options, *reply, !function_error.empty());
  }
  return function_error.empty() ? kExitOk : kExitFunctionFailed;
}

}  // namespace

void AddInvokeCommand(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<InvokeOptions>();
  auto* command = app.add_subcommand("invoke", "Invoke a function of a node; exit code 3 when the function fails");
  command->fallthrough();
  AddClientOptions(*command, *options->client);
  command->add_option("name", options->name, "name of the function")->required();
  command->add_option("-d,--data", options->data, "the event: JSON, @FILE, or - for standard input")
      ->capture_default_str();
  command->add_option("--qualifier", options->qualifier, "a version or an alias ($LATEST)");
  auto* async = command->add_flag("--async", options->is_async, "queue the event and do not wait for its answer");
  command->add_flag("--timings", options->timings, "print where the time went to standard error")->excludes(async);
  command->add_flag("--log", options->log, "print the request's log to standard error")->excludes(async);
  OnParsed(
      *command, options->client, [options](const NodeClient& node) { return Invoke(node, *options); }, exit_code);
}

}  // namespace snapfaas::cli
