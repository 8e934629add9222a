#include "cli/load_deploy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cli/http_node_for_tests.h"
#include "cli/recipe_for_tests.h"

namespace snapfaas::cli {
namespace {

using Answer = HttpNodeForTests::Answer;
using Request = HttpNodeForTests::Request;

// What of Lambda's API a deployment uses. Functions are active at once, their snapshots at the second look.
class FakeLambda {
 public:
  Answer Handle(const Request& request) {
    const std::lock_guard lock(mutex_);
    const std::string target(request.target());
    const Json body = Json::parse(request.body(), nullptr, /*allow_exceptions=*/false);
    const std::string name = request.method() == boost::beast::http::verb::post
                                 ? body.value("FunctionName", std::string())
                                 : target.substr(kFunctions.size(), target.rfind('/') - kFunctions.size());
    if (request.method() == boost::beast::http::verb::get && functions_.count(name) == 0) return {404, "{}"};
    Json& function = functions_[name];
    if (body.is_object()) {
      function.update(body);
      function["State"] = "Active";
      looks_[name] = 0;
    } else if (looks_[name]++ > 0) {
      function["SnapStart"]["OptimizationStatus"] = "On";
    }
    return {request.method() == boost::beast::http::verb::post ? 201 : 200, function.dump()};
  }

  std::map<std::string, Json> functions() const {
    const std::lock_guard lock(mutex_);
    return functions_;
  }

 private:
  static constexpr std::string_view kFunctions = "/2015-03-31/functions/";

  mutable std::mutex mutex_;
  std::map<std::string, Json> functions_;
  std::map<std::string, int> looks_;
};

class LoadDeployTest : public testing::Test {
 protected:
  LoadDeployTest() : folder_(testing::TempDir() + "load_deploy_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "app.py") << "def handler(event, context):\n    return event\n";
    PutRecipe(folder_ / "share");
    workload_.functions.resize(2);
    LoadFunction& function = workload_.functions[0];
    function.name = "mine";
    function.app = folder_;
    function.runtime = "python3";
    function.memory_mib = 256;
    function.timeout_seconds = 9;
    workload_.functions[1].name = "theirs";
  }
  ~LoadDeployTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Status Deploy(FunctionSnapshots snapshots, OldVms old_vms = OldVms::kKeep) {
    ClientOptions options;
    options.endpoint = node_.url();
    auto client = NodeClient::Connect(options);
    if (!client) return Forward(client.error());
    return DeployWorkload(*client, workload_, folder_ / "share", snapshots, old_vms, {});
  }

  std::filesystem::path folder_;
  Workload workload_;
  FakeLambda lambda_;
  HttpNodeForTests node_{[this](const Request& request) { return lambda_.Handle(request); }};
};

TEST_F(LoadDeployTest, FunctionsWithAnAppAreDeployedAsTheWorkloadSays) {
  const auto deployed = Deploy(FunctionSnapshots::kOff);
  ASSERT_TRUE(deployed) << deployed.error().Message();
  const auto functions = lambda_.functions();
  ASSERT_EQ(functions.size(), 1U);
  const Json& mine = functions.at("mine");
  EXPECT_EQ(mine["Runtime"], "python3");
  EXPECT_EQ(mine["Handler"], "app.handler");
  EXPECT_EQ(mine["MemorySize"], 256);
  EXPECT_EQ(mine["Timeout"], 9);
  EXPECT_EQ(mine["SnapStart"]["ApplyOn"], "None");
  EXPECT_FALSE(mine.contains("Environment"));
}

TEST_F(LoadDeployTest, WithSnapshotsItWaitsForThem) {
  const auto deployed = Deploy(FunctionSnapshots::kOn);
  ASSERT_TRUE(deployed) << deployed.error().Message();
  EXPECT_EQ(lambda_.functions().at("mine")["SnapStart"]["ApplyOn"], "PublishedVersions");
  EXPECT_EQ(lambda_.functions().at("mine")["SnapStart"]["OptimizationStatus"], "On");
}

TEST_F(LoadDeployTest, MicroVmsOfTheOtherRunAreLeftBehind) {
  ASSERT_TRUE(Deploy(FunctionSnapshots::kOff, OldVms::kLeaveBehind));
  const Json off = lambda_.functions().at("mine")["Environment"];
  ASSERT_TRUE(Deploy(FunctionSnapshots::kOn, OldVms::kLeaveBehind));
  const Json on = lambda_.functions().at("mine")["Environment"];
  EXPECT_FALSE(off.is_null());
  EXPECT_NE(off, on);
}

TEST_F(LoadDeployTest, AWorkloadWithoutAnAppIsRefused) {
  workload_.functions.erase(workload_.functions.begin());
  const auto deployed = Deploy(FunctionSnapshots::kOn);
  ASSERT_FALSE(deployed);
  EXPECT_EQ(deployed.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(LoadDeployTest, AnAppThatIsNotThereIsNamedWithItsFunction) {
  workload_.functions[0].app = folder_ / "missing";
  const auto deployed = Deploy(FunctionSnapshots::kOn);
  ASSERT_FALSE(deployed);
  EXPECT_THAT(deployed.error().Message(), testing::StartsWith("mine: there is no function folder"));
}

}  // namespace
}  // namespace snapfaas::cli
