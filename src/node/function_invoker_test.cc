#include "node/function_invoker.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "faas/controller.h"
#include "faas/request_manager.h"
#include "faas/thread_timekeeper.h"
#include "faas/vm_host.h"
#include "node/node_parts_for_tests.h"

namespace snapfaas::node {
namespace {

using Kind = InvocationAnswer::Kind;
using Outcome = faas::FunctionOutcome;

// Answers from within the call, or not before it is told to.
class ScriptedHost : public faas::VmHost {
 public:
  std::function<Outcome(const faas::FunctionSpec& spec, const faas::FunctionRequest& request)> script =
      [](const auto&, const auto& request) {
        Outcome outcome;
        outcome.payload = request.event;
        outcome.log_tail = "tail";
        return outcome;
      };
  bool holds = false;

  void LaunchAndInvoke(faas::VmId, const faas::FunctionSpec& spec, faas::SharedRequest request,
                       std::function<void()> /*loaded*/, AnswerDone done) override {
    spec_ = spec;
    if (holds) {
      held_.emplace_back(std::move(request), std::move(done));
    } else {
      Answer(*request, done);
    }
  }
  void Launch(faas::VmId, const faas::FunctionSpec&, StatusDone done) override { done({}); }
  void Invoke(faas::VmId, faas::SharedRequest request, AnswerDone done) override { Answer(*request, done); }
  void Reset(faas::VmId, StatusDone done) override { done({}); }
  void Destroy(faas::VmId, std::function<void()> done) override { done(); }

  const faas::FunctionSpec& spec() const { return spec_; }

 private:
  void Answer(const faas::FunctionRequest& request, const AnswerDone& done) {
    auto outcome = script(spec_, request);
    const bool usable = outcome.kind == Outcome::Kind::kResult || outcome.kind == Outcome::Kind::kError;
    done({std::move(outcome), usable});
  }

  faas::FunctionSpec spec_;
  std::vector<std::pair<faas::SharedRequest, AnswerDone>> held_;
};

class FunctionInvokerTest : public RegistryTest {
 protected:
  FunctionInvokerTest()
      : controller_(timekeeper_, host_, {}),
        requests_(timekeeper_, controller_, {}),
        invoker_(*registry_, requests_, hub_, [this](const auto& function, const auto&) { seen_ += function; },
                 {1, {"us-east-1", "000000000000"}}) {}
  void TearDown() override {
    invoker_.Stop();
    timekeeper_.Stop();
    RegistryTest::TearDown();
  }

  InvocationAnswer Ask(const std::string& function, const std::string& qualifier = "") {
    std::promise<InvocationAnswer> answer;
    invoker_.Invoke({function, qualifier, "id-1", R"({"a":1})", ""},
                    [&answer](InvocationAnswer given) { answer.set_value(std::move(given)); });
    return answer.get_future().get();
  }

  InvocationAnswer AskWith(Outcome outcome) {
    host_.script = [outcome](const auto&, const auto&) { return outcome; };
    return Ask("f");
  }

  std::string seen_;
  ScriptedHost host_;
  EventHub hub_;
  faas::ThreadTimekeeper timekeeper_;
  faas::Controller controller_;
  faas::RequestManager requests_;
  FunctionInvoker invoker_;
};

TEST_F(FunctionInvokerTest, AnswerOfTheFunction) {
  Deploy("f");
  const auto answer = Ask("f");
  EXPECT_EQ(answer.kind, Kind::kAnswered);
  EXPECT_EQ(answer.payload, R"({"a":1})");
  EXPECT_EQ(answer.function_error, "");
  EXPECT_EQ(answer.executed_version, "$LATEST");
  EXPECT_EQ(answer.log_tail, "tail");
  EXPECT_GT(answer.total_ms, 0);
  EXPECT_EQ(seen_, "f");
}

TEST_F(FunctionInvokerTest, SpecFollowsTheConfigurationThatIsServed) {
  auto config = SomeConfig();
  config.memory_mib = 200;
  config.timeout_s = 7;
  config.isolation = registry::Isolation::kReset;
  Deploy("f", config);
  Ask("f");
  EXPECT_EQ(host_.spec().size.memory_mib, 256U);
  EXPECT_EQ(host_.spec().timeout_ns, 7'000'000'000);
  EXPECT_EQ(host_.spec().isolation, faas::Isolation::kReset);
  EXPECT_EQ(host_.spec().function, "f");
}

TEST_F(FunctionInvokerTest, ChangeIsSeenAtOnce) {
  Deploy("f");
  Ask("f");
  const std::string before = host_.spec().key;
  ASSERT_TRUE(registry_->UpdateConfig(
      "f", [](auto& config) { config.timeout_s = 9; }, ""));
  Finish("f", "$LATEST", "image2");
  Ask("f");
  EXPECT_NE(host_.spec().key, before);
  EXPECT_EQ(host_.spec().timeout_ns, 9'000'000'000);
}

TEST_F(FunctionInvokerTest, NobodyIsNotFound) {
  EXPECT_EQ(Ask("nobody").kind, Kind::kNotFound);
  Deploy("f");
  EXPECT_EQ(Ask("f", "17").kind, Kind::kNotFound);
}

TEST_F(FunctionInvokerTest, FunctionThatIsBeingMadeIsNotReady) {
  ASSERT_TRUE(registry_->CreateFunction("f", SomeConfig(), {std::string(64, 'a'), 10}, {}, registry::Publish::kNo));
  const auto answer = Ask("f");
  EXPECT_EQ(answer.kind, Kind::kNotReady);
  EXPECT_NE(answer.message.find("Pending"), std::string::npos);
}

TEST_F(FunctionInvokerTest, FailuresAreToldInLambdasWords) {
  Deploy("f");
  Outcome timeout;
  timeout.kind = Outcome::Kind::kTimedOut;
  auto report = nlohmann::json::parse(AskWith(timeout).payload);
  EXPECT_EQ(report["errorType"], "Sandbox.Timedout");
  EXPECT_EQ(report["errorMessage"], "RequestId: id-1 Error: Task timed out after 3.00 seconds");

  Outcome crash;
  crash.kind = Outcome::Kind::kCrashed;
  auto answer = AskWith(crash);
  EXPECT_EQ(answer.function_error, "Unhandled");
  report = nlohmann::json::parse(answer.payload);
  EXPECT_EQ(report["errorType"], "Runtime.ExitError");
  EXPECT_EQ(report["errorMessage"], "RequestId: id-1 Error: Runtime exited without providing a reason");

  Outcome error;
  error.kind = Outcome::Kind::kError;
  error.payload = R"({"errorType":"KeyError"})";
  answer = AskWith(error);
  EXPECT_EQ(answer.kind, Kind::kAnswered);
  EXPECT_EQ(answer.function_error, "Unhandled");
  EXPECT_EQ(answer.payload, R"({"errorType":"KeyError"})");
}

TEST_F(FunctionInvokerTest, NoMicroVmIsNoFailureOfTheFunction) {
  Deploy("f");
  Outcome outcome;
  outcome.kind = Outcome::Kind::kLaunchFailed;
  outcome.message = "no shells";
  const auto answer = AskWith(outcome);
  EXPECT_EQ(answer.kind, Kind::kUnavailable);
  EXPECT_NE(answer.message.find("no shells"), std::string::npos);
}

TEST_F(FunctionInvokerTest, ReservedConcurrencyThrottles) {
  Deploy("f");
  ASSERT_TRUE(registry_->SetReservedConcurrency("f", 0));
  const auto answer = Ask("f");
  EXPECT_EQ(answer.kind, Kind::kThrottled);
  EXPECT_EQ(answer.reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
}

TEST_F(FunctionInvokerTest, CancelledRequestIsAnswered) {
  Deploy("f");
  host_.holds = true;
  std::promise<InvocationAnswer> answer;
  const auto ticket = invoker_.Invoke({"f", "", "id-1", "{}", ""},
                                      [&answer](InvocationAnswer given) { answer.set_value(std::move(given)); });
  invoker_.Cancel(ticket);
  EXPECT_EQ(answer.get_future().get().kind, Kind::kCancelled);
}

TEST_F(FunctionInvokerTest, StoppedInvokerRefuses) {
  Deploy("f");
  invoker_.Stop();
  EXPECT_EQ(Ask("f").kind, Kind::kUnavailable);
}

}  // namespace
}  // namespace snapfaas::node
