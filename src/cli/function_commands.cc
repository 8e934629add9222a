#include "cli/function_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/context.h"
#include "cli/node_client.h"
#include "cli/table.h"
#include "http/url.h"

namespace snapfaas::cli {
namespace {

constexpr uint64_t kDefaultLogBytes = uint64_t{64} * 1024;
constexpr std::chrono::milliseconds kFollowPause{250};

struct NamedOptions {
  std::shared_ptr<ClientOptions> client = std::make_shared<ClientOptions>();
  std::string name;
  bool follow = false;
  uint64_t max_bytes = kDefaultLogBytes;
};

Result<int> ListFunctions(const NodeClient& node, const ClientOptions& options) {
  auto functions = node.ListFunctions();
  if (!functions) return Forward(functions.error());
  if (options.json) {
    PrintJson(*functions);
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& function : *functions) {
    rows.push_back({TextOf(function, "FunctionName"), TextOf(function, "Runtime"), TextOf(function, "Handler"),
                    Count(NumberOf(function, "MemorySize")) + " MB", Count(NumberOf(function, "Timeout")) + " s",
                    ShortBytes(NumberOf(function, "CodeSize")), TextOf(function, "LastModified").substr(0, 19)});
  }
  std::sort(rows.begin(), rows.end());
  fmt::print("{}", FormatTable({{"NAME"},
                                {"RUNTIME"},
                                {"HANDLER"},
                                {"MEMORY", Align::kRight},
                                {"TIMEOUT", Align::kRight},
                                {"CODE", Align::kRight},
                                {"MODIFIED (UTC)"}},
                               rows));
  return kExitOk;
}

Result<int> RemoveFunction(const NodeClient& node, const NamedOptions& options) {
  auto removed = node.Call("DELETE", FunctionPath(options.name));
  if (!removed) return Forward(removed.error());
  if (options.client->json) PrintJson({{"removed", options.name}});
  return kExitOk;
}

struct LogPiece {
  std::string text;
  uint64_t next = 0;
};

Result<LogPiece> ReadLog(const NodeClient& node, const NamedOptions& options, std::optional<uint64_t> from) {
  std::string target = fmt::format("/v1/functions/{}/log?max={}", http::PercentEncode(options.name), options.max_bytes);
  if (from) target += fmt::format("&from={}", *from);
  auto answer = node.Call("GET", target);
  if (!answer) return Forward(answer.error());
  const auto next = answer->is_object() ? answer->find("next") : answer->end();
  if (next == answer->end() || !next->is_number_unsigned()) {
    return Fail(ErrorCode::kIncompatible, "the node at {} sent no log", node.url());
  }
  return LogPiece{TextOf(*answer, "text"), next->get<uint64_t>()};
}

void PrintPiece(const NamedOptions& options, const LogPiece& piece) {
  if (options.client->json) {
    const Json line = {{"text", piece.text}, {"next", piece.next}};
    fmt::print("{}\n", line.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    std::fwrite(piece.text.data(), 1, piece.text.size(), stdout);
  }
  std::fflush(stdout);
}

Result<int> Logs(const NodeClient& node, const NamedOptions& options) {
  auto piece = ReadLog(node, options, std::nullopt);
  while (piece) {
    PrintPiece(options, *piece);
    do {
      // Also where nobody reads any more what is printed.
      if (!options.follow || std::ferror(stdout) != 0) return kExitOk;
      std::this_thread::sleep_for(kFollowPause);
      piece = ReadLog(node, options, piece->next);
    } while (piece && piece->text.empty());
  }
  return Forward(piece.error());
}

void AddList(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ClientOptions>();
  auto* command = app.add_subcommand("ls", "List the functions of a node");
  command->fallthrough();
  AddClientOptions(*command, *options);
  OnParsed(
      *command, options, [options](const NodeClient& node) { return ListFunctions(node, *options); }, exit_code);
}

void AddRemove(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<NamedOptions>();
  auto* command = app.add_subcommand("rm", "Remove a function with all its versions");
  command->fallthrough();
  AddClientOptions(*command, *options->client);
  command->add_option("name", options->name, "name of the function")->required();
  OnParsed(
      *command, options->client, [options](const NodeClient& node) { return RemoveFunction(node, *options); },
      exit_code);
}

void AddLogs(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<NamedOptions>();
  auto* command = app.add_subcommand("logs", "Print what a function has logged");
  command->fallthrough();
  AddClientOptions(*command, *options->client);
  command->add_option("name", options->name, "name of the function")->required();
  command->add_flag("-f,--follow", options->follow, "go on with what it logs from now on");
  command->add_option("--bytes", options->max_bytes, "so many bytes at most of its end")
      ->check(CLI::Range(uint64_t{1}, uint64_t{16} << 20))
      ->capture_default_str();
  OnParsed(
      *command, options->client, [options](const NodeClient& node) { return Logs(node, *options); }, exit_code);
}

}  // namespace

void AddFunctionCommands(CLI::App& app, int& exit_code) {
  AddList(app, exit_code);
  AddRemove(app, exit_code);
  AddLogs(app, exit_code);
}

}  // namespace snapfaas::cli
