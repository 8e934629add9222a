// NodeClient: a node's APIs (Lambda's, and the native one below /v1) as functions, and the options of the commands
// that use it.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/http_client.h"

namespace snapfaas::cli {

inline constexpr int kExitFunctionFailed = 3;

struct ClientOptions {
  std::string endpoint;
  bool json = false;
};

// --endpoint and --json.
void AddClientOptions(CLI::App& command, ClientOptions& options);

class NodeClient {
 public:
  // kInvalidArgument: the endpoint is none.
  static Result<NodeClient> Connect(const ClientOptions& options);

  // The answer as JSON (null where it has no body). A refusal of the node is an Error with what it said; kNotFound,
  // kAlreadyExists, kPermissionDenied, kResourceExhausted (429), kInvalidArgument (other 4xx), kUnavailable (5xx).
  Result<nlohmann::json> Call(const std::string& method, const std::string& target, const nlohmann::json& body = {},
                              double timeout_seconds = 30) const;

  // The same, with the reply as it came.
  Result<HttpReply> Send(const HttpCall& call) const;

  // Of all pages.
  Result<std::vector<nlohmann::json>> ListFunctions() const;

  const std::string& url() const { return http_.endpoint().url; }

 private:
  explicit NodeClient(HttpClient http) : http_(std::move(http)) {}

  HttpClient http_;
};

// "/2015-03-31/functions/NAME" and what follows it.
std::string FunctionPath(const std::string& name, const std::string& rest = {});

// Text and numbers of an answer that may lack them.
std::string TextOf(const nlohmann::json& object, const char* key);
double NumberOf(const nlohmann::json& object, const char* key);

// What a command does, with its node; returns its exit code. Errors are printed; kInvalidArgument, whoever found it, is
// exit code 2.
using ClientAction = std::function<Result<int>(const NodeClient& node)>;
void OnParsed(CLI::App& command, std::shared_ptr<ClientOptions> options, ClientAction action, int& exit_code);

void PrintJson(const nlohmann::json& value);

}  // namespace snapfaas::cli
