// LambdaApi: AWS Lambda's operations on functions, versions, aliases and their settings, without Invoke. Reference for
// members and codes: botocore's service model 2015-03-31.
//
// Beyond Lambda: "SnapFaaS": {"Isolation": "Reuse" | "Reset"} in CreateFunction and UpdateFunctionConfiguration, DryRun
// in CreateFunction, and GET /2015-03-31/functions/{fn}/code, where Code.Location of GetFunction points to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "gateway/function_name.h"
#include "gateway/http_message.h"
#include "http/sigv4.h"
#include "node/deployments.h"
#include "registry/code_store.h"
#include "registry/registry.h"

namespace snapfaas::gateway {

struct LambdaOptions {
  LambdaPlace place;
  std::string endpoint = "http://127.0.0.1:8480";                       // without a final slash
  std::string function_url = "http://{id}.lambda-url.localhost:8480/";  // its {id} is replaced
  std::optional<http::Credentials> credentials;                         // what links are signed with
  uint32_t max_memory_mib = 3072;
  uint32_t concurrent_executions = 1000;  // what reserved concurrency is taken from
  uint32_t min_unreserved = 100;          // what of it must be left
};

struct LambdaCall;
struct LambdaAnswer;

class LambdaApi {
 public:
  // All three must outlive it.
  LambdaApi(registry::Registry& registry, registry::CodeStore& codes, node::Deployments& deployments,
            LambdaOptions options);

  // From any thread; blocks on the disk. Nothing when the path is none of its own: Invoke's, for example.
  std::optional<HttpResponse> Handle(const HttpRequest& request);

 private:
  using Outcome = LambdaResult<LambdaAnswer>;
  using Operation = Outcome (LambdaApi::*)(LambdaCall& call);
  struct Route;
  static const std::vector<Route>& Routes();

  HttpResponse Run(Operation operation, LambdaCall& call);

  // lambda_functions.cc
  Outcome CreateFunction(LambdaCall& call);
  Outcome ListFunctions(LambdaCall& call);
  Outcome GetFunction(LambdaCall& call);
  Outcome GetFunctionConfiguration(LambdaCall& call);
  Outcome GetCode(LambdaCall& call);
  Outcome UpdateFunctionCode(LambdaCall& call);
  Outcome UpdateFunctionConfiguration(LambdaCall& call);
  Outcome DeleteFunction(LambdaCall& call);

  // lambda_versions.cc
  Outcome PublishVersion(LambdaCall& call);
  Outcome ListVersionsByFunction(LambdaCall& call);
  Outcome CreateAlias(LambdaCall& call);
  Outcome ListAliases(LambdaCall& call);
  Outcome GetAlias(LambdaCall& call);
  Outcome UpdateAlias(LambdaCall& call);
  Outcome DeleteAlias(LambdaCall& call);

  // lambda_settings.cc
  Outcome PutFunctionConcurrency(LambdaCall& call);
  Outcome GetFunctionConcurrency(LambdaCall& call);
  Outcome DeleteFunctionConcurrency(LambdaCall& call);
  Outcome PutFunctionEventInvokeConfig(LambdaCall& call);
  Outcome UpdateFunctionEventInvokeConfig(LambdaCall& call);
  Outcome GetFunctionEventInvokeConfig(LambdaCall& call);
  Outcome ListFunctionEventInvokeConfigs(LambdaCall& call);
  Outcome DeleteFunctionEventInvokeConfig(LambdaCall& call);
  Outcome GetAccountSettings(LambdaCall& call);

  // lambda_urls.cc
  Outcome CreateFunctionUrlConfig(LambdaCall& call);
  Outcome GetFunctionUrlConfig(LambdaCall& call);
  Outcome UpdateFunctionUrlConfig(LambdaCall& call);
  Outcome DeleteFunctionUrlConfig(LambdaCall& call);
  Outcome ListFunctionUrlConfigs(LambdaCall& call);

  // lambda_policies.cc
  Outcome AddPermission(LambdaCall& call);
  Outcome GetPolicy(LambdaCall& call);
  Outcome RemovePermission(LambdaCall& call);
  Outcome TagResource(LambdaCall& call);
  Outcome UntagResource(LambdaCall& call);
  Outcome ListTags(LambdaCall& call);

  // Shared by these.
  LambdaResult<registry::FunctionVersion> Find(const FunctionName& function);
  LambdaError Refusal(const Error& error, const FunctionName& function) const;
  LambdaError AliasRefusal(const Error& error, const registry::Alias& alias);
  LambdaError NoEventInvokeConfig(const FunctionName& function) const;
  std::optional<LambdaError> CheckDestination(const std::string& arn, const FunctionName& function) const;
  LambdaResult<std::string> CodeLocation(const registry::FunctionVersion& version) const;
  std::string ArnOf(const FunctionName& function) const;
  nlohmann::json Describe(const registry::FunctionVersion& version, std::string_view qualifier) const;
  LambdaResult<registry::StoredCode> TakeCode(std::string_view zip_base64);
  std::optional<LambdaError> CheckRuntime(const std::string& runtime);
  void SweepCodes();
  enum class Unset { kClear, kKeep };  // what becomes of settings that the request does not have
  Outcome ChangeEventInvokeConfig(LambdaCall& call, Unset unset);

  registry::Registry& registry_;
  registry::CodeStore& codes_;
  node::Deployments& deployments_;
  const LambdaOptions options_;
};

}  // namespace snapfaas::gateway
