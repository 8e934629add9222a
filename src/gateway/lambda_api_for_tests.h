// LambdaApi on a real registry and code store, with deployments that a test plays.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/base64.h"
#include "base/file_system.h"
#include "base/json.h"
#include "base/scratch_folder_for_tests.h"
#include "gateway/lambda_api.h"

namespace snapfaas::gateway {

inline constexpr const char* kRole = "arn:aws:iam::000000000000:role/service-role/any";

// Has python3; takes every zip but "bad".
class FakeDeployments : public node::Deployments {
 public:
  Status CheckZip(const std::filesystem::path& zip) override {
    std::ifstream file(zip);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    if (bytes == "bad") return Fail(ErrorCode::kInvalidArgument, "it is no zip");
    return {};
  }
  const registry::Runtimes& Runtimes() const override { return runtimes_; }
  bool HasRuntime(const std::string& runtime) override { return runtime == "python3"; }
  void Start(const std::string& function, const std::string& version) override {
    started.push_back(function + ":" + version);
  }
  bool HasSnapshot(const registry::FunctionVersion& version) override {
    return with_snapshot.contains(version.function + ":" + version.version);
  }
  void Removed(const std::string& function, const std::vector<std::string>& versions) override {
    for (const auto& version : versions) removed.push_back(function + ":" + version);
  }

  std::vector<std::string> started;
  std::vector<std::string> removed;
  std::set<std::string> with_snapshot;

 private:
  const registry::Runtimes runtimes_{
      {{"nodejs", {"nodejs22.x"}, 128}, {"python3", {"python3.11", "python3.12", "python3.13"}, 128}}};
};

class LambdaApiFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    auto registry = registry::Registry::Open(folder_.path() / "registry.db");
    ASSERT_TRUE(registry) << registry.error().Message();
    registry_ = *std::move(registry);
    auto codes = registry::CodeStore::Open(files_, folder_.path() / "code", *registry_);
    ASSERT_TRUE(codes) << codes.error().Message();
    codes_ = *std::move(codes);
    Open({});
  }
  void Open(std::optional<http::Credentials> credentials) {
    LambdaOptions options;
    options.endpoint = "http://node";
    options.function_url = "http://{id}.node/";
    options.credentials = std::move(credentials);
    api_.emplace(*registry_, *codes_, deployments_, options);
  }

  LambdaApi& api() { return *api_; }
  registry::Registry& registry() { return *registry_; }
  FakeDeployments& deployments() { return deployments_; }
  std::vector<std::string> CodeFiles() { return *files_.List((folder_.path() / "code").string()); }

  HttpResponse Send(const std::string& method, const std::string& target, const std::string& body = "") {
    HttpRequest request;
    request.method = method;
    request.target = target;
    const size_t question = target.find('?');
    request.path = target.substr(0, question);
    if (question != std::string::npos) request.query = target.substr(question + 1);
    request.body = body;
    auto response = api_->Handle(request);
    EXPECT_TRUE(response) << method << " " << target;
    return response.value_or(HttpResponse{});
  }

  // The answer's JSON.
  Json Ok(const std::string& method, const std::string& target, const Json& body = nullptr, int status = 200) {
    const auto response = Send(method, target, body.is_null() ? "" : body.dump());
    EXPECT_EQ(response.status, status) << method << " " << target << ": " << response.body;
    return Json::parse(response.body, nullptr, false);
  }

  static std::string ErrorType(const HttpResponse& response) {
    return std::string(FindField(response.headers, "x-amzn-ErrorType").value_or(""));
  }

  static Json NewFunction(const std::string& name) {
    return {{"FunctionName", name},
            {"Runtime", "python3.12"},
            {"Role", kRole},
            {"Handler", "app.handler"},
            {"Code", {{"ZipFile", EncodeBase64("abc")}}}};
  }

  // Ends all deployments of the function well.
  void Finish(const std::string& name) {
    const auto pending = registry_->PendingDeployments();
    ASSERT_TRUE(pending);
    for (const auto& one : *pending) {
      if (one.function != name) continue;
      ASSERT_TRUE(registry_->FinishDeployment(name, one.version, one.deployment, "image"));
    }
  }

  // An active function.
  Json Make(const std::string& name) {
    auto made = Ok("POST", "/2015-03-31/functions", NewFunction(name), 201);
    Finish(name);
    return made;
  }

 private:
  ScratchFolder folder_;
  PosixFileSystem files_;
  std::unique_ptr<registry::Registry> registry_;
  std::unique_ptr<registry::CodeStore> codes_;
  FakeDeployments deployments_;
  std::optional<LambdaApi> api_;
};

}  // namespace snapfaas::gateway
