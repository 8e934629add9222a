#include "node/event_dispatcher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "node/node_parts_for_tests.h"

namespace snapfaas::node {
namespace {

using Kind = InvocationAnswer::Kind;

class EventDispatcherTest : public RegistryTest {
 protected:
  EventDispatcherTest() {
    options_.first_retry_ms = 1;
    options_.arn = {"us-east-1", "000000000000"};
  }

  EventDispatcher& Start() {
    dispatcher_.emplace(*registry_, invoker_, options_, [this](const std::string& line) {
      const std::lock_guard lock(log_mutex_);
      log_ += line + "\n";
    });
    return *dispatcher_;
  }

  static Invocation SomeEvent(const std::string& function, const std::string& id = "r1") {
    return {function, "", id, R"({"n":1})", ""};
  }

  void FailAlways() {
    invoker_.script = [](const Invocation&) {
      InvocationAnswer answer;
      answer.payload = R"({"errorMessage":"no"})";
      answer.function_error = "Unhandled";
      answer.executed_version = "$LATEST";
      return answer;
    };
  }

  void SetDestinations(const std::string& function, uint32_t retries, const std::string& success,
                       const std::string& failure) {
    auto changed = registry_->ChangeEventInvokeConfig(function, "$LATEST", [&](auto) {
      registry::EventInvokeConfig config;
      config.function = function;
      config.qualifier = "$LATEST";
      config.max_retry_attempts = retries;
      if (!success.empty()) config.on_success = FunctionArn(options_.arn, success, "");
      if (!failure.empty()) config.on_failure = FunctionArn(options_.arn, failure, "");
      return config;
    });
    ASSERT_TRUE(changed) << changed.error().Message();
  }

  void WaitUntilEmpty() {
    while (registry_->CountEvents().value() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  ScriptedInvoker invoker_;
  EventDispatcher::Options options_;
  std::mutex log_mutex_;
  std::string log_;
  std::optional<EventDispatcher> dispatcher_;
};

TEST_F(EventDispatcherTest, EventIsDeliveredAndGone) {
  Deploy("f");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  const auto invocations = invoker_.WaitFor(1);
  EXPECT_EQ(invocations[0].function, "f");
  EXPECT_EQ(invocations[0].event, R"({"n":1})");
  EXPECT_EQ(invocations[0].request_id, "r1");
  WaitUntilEmpty();
}

TEST_F(EventDispatcherTest, EventForNobodyIsRefused) {
  const auto accepted = Start().Accept(SomeEvent("nobody"));
  ASSERT_FALSE(accepted);
  EXPECT_EQ(accepted.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(registry_->CountEvents().value(), 0U);
}

TEST_F(EventDispatcherTest, FailureIsRetriedAsOftenAsTheFunctionSays) {
  FailAlways();
  Deploy("f");
  SetDestinations("f", 1, "", "");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  WaitUntilEmpty();
  EXPECT_EQ(invoker_.WaitFor(2).size(), 2U);
}

TEST_F(EventDispatcherTest, FailureGoesToItsDestination) {
  FailAlways();
  Deploy("f");
  Deploy("failures");
  SetDestinations("f", 0, "", "failures");
  SetDestinations("failures", 0, "", "");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  const auto invocations = invoker_.WaitFor(2);
  EXPECT_EQ(invocations[1].function, "failures");
  const auto record = nlohmann::json::parse(invocations[1].event);
  EXPECT_EQ(record["version"], "1.0");
  EXPECT_EQ(record["requestContext"]["condition"], "RetriesExhausted");
  EXPECT_EQ(record["requestContext"]["approximateInvokeCount"], 1);
  EXPECT_EQ(record["requestContext"]["functionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST");
  EXPECT_EQ(record["requestPayload"], (nlohmann::json{{"n", 1}}));
  EXPECT_EQ(record["responseContext"]["functionError"], "Unhandled");
  EXPECT_EQ(record["responsePayload"]["errorMessage"], "no");
  WaitUntilEmpty();
}

TEST_F(EventDispatcherTest, SuccessGoesToItsDestination) {
  Deploy("f");
  Deploy("successes");
  SetDestinations("f", 0, "successes", "");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  const auto invocations = invoker_.WaitFor(2);
  EXPECT_EQ(invocations[1].function, "successes");
  const auto record = nlohmann::json::parse(invocations[1].event);
  EXPECT_EQ(record["requestContext"]["condition"], "Success");
  EXPECT_FALSE(record["responseContext"].contains("functionError"));
}

TEST_F(EventDispatcherTest, MissingDestinationKeepsNothing) {
  FailAlways();
  Deploy("f");
  SetDestinations("f", 0, "", "gone");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  WaitUntilEmpty();
  EXPECT_EQ(invoker_.WaitFor(1)[0].function, "f");
}

TEST_F(EventDispatcherTest, ThrottledEventIsNoAttempt) {
  Deploy("f");
  SetDestinations("f", 0, "", "");
  invoker_.script = [](const Invocation&) {
    InvocationAnswer answer;
    answer.kind = Kind::kThrottled;
    return answer;
  };
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  invoker_.WaitFor(1);
  dispatcher_->Stop();
  EXPECT_EQ(registry_->CountEvents().value(), 1U);
}

TEST_F(EventDispatcherTest, TooOldEventIsGivenUp) {
  options_.max_age_ms = -1;
  Deploy("f");
  Deploy("failures");
  SetDestinations("f", 0, "", "failures");
  ASSERT_TRUE(Start().Accept(SomeEvent("f")));
  // Its record is too old as well.
  WaitUntilEmpty();
}

TEST_F(EventDispatcherTest, WhatWaitsOutlivesTheDispatcher) {
  Deploy("f");
  Start().Pause();
  EXPECT_EQ(dispatcher_->Accept(SomeEvent("f")).error().code, ErrorCode::kUnavailable);
  dispatcher_->Stop();
  ASSERT_TRUE(registry_->AddEvent({"f", "", "r2", "{}", ""}, RealtimeNanos() / 1'000'000));
  Start();
  EXPECT_EQ(invoker_.WaitFor(1)[0].request_id, "r2");
}

}  // namespace
}  // namespace snapfaas::node
