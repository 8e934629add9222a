#include "gateway/lambda_invoke.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "gateway/gateway_fixture_for_tests.h"

namespace snapfaas::gateway {
namespace {

using Kind = node::InvocationAnswer::Kind;

class LambdaInvokeTest : public GatewayFixture {
 protected:
  void SetUp() override {
    Start();
    invoker_.Set("hello", Answered(R"({"greeting":"hi"})"));
  }

  void SetRefusal(const std::string& function, Kind kind, const std::string& message, const std::string& reason = "") {
    node::InvocationAnswer answer;
    answer.kind = kind;
    answer.message = message;
    answer.reason = reason;
    invoker_.Set(function, answer);
  }
};

TEST_F(LambdaInvokeTest, AnswersWithThePayloadAndWhatRan) {
  auto answer = Answered(R"({"greeting":"hi"})");
  answer.executed_version = "7";
  answer.timings.start = faas::StartKind::kRestored;
  answer.timings.from_function_snapshot = true;
  answer.timings.restore = 12.5;
  answer.total_ms = 20;
  invoker_.Set("hello", answer);
  const auto got = Invoke("hello", R"({"a":1})");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, R"({"greeting":"hi"})");
  EXPECT_EQ(got.Header("Content-Type"), "application/json");
  EXPECT_EQ(got.Header("X-Amz-Executed-Version"), "7");
  EXPECT_EQ(got.Header("X-Amz-Function-Error"), "");
  EXPECT_EQ(got.Header("X-Amz-Log-Result"), "");
  EXPECT_EQ(got.Header("X-SnapFaaS-Start"), "restored");
  EXPECT_EQ(got.Header("X-SnapFaaS-Snapshot"), "function");
  EXPECT_EQ(got.Header("X-SnapFaaS-Restore-Ms"), "12.500");
  EXPECT_EQ(got.Header("X-SnapFaaS-Total-Ms"), "20.000");
  const auto asked = invoker_.last();
  EXPECT_EQ(asked.event, R"({"a":1})");
  EXPECT_EQ(asked.request_id, got.Header("X-Amzn-RequestId"));
  EXPECT_EQ(asked.request_id.size(), 36U);
}

TEST_F(LambdaInvokeTest, UnderstandsNamesAndQualifiers) {
  Invoke("hello:live");
  EXPECT_EQ(invoker_.last().qualifier, "live");
  Request("POST", "/2015-03-31/functions/hello/invocations?Qualifier=%24LATEST", "{}");
  EXPECT_EQ(invoker_.last().qualifier, "$LATEST");
  Invoke("arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello%3A3");
  EXPECT_EQ(invoker_.last().function, "hello");
  EXPECT_EQ(invoker_.last().qualifier, "3");
  EXPECT_GE(Invoke("no!name").status, 400);
}

TEST_F(LambdaInvokeTest, AFunctionsFailureIsA200) {
  auto failed = Answered(R"({"errorMessage":"no","errorType":"ValueError"})");
  failed.function_error = "Unhandled";
  failed.log_tail = "START\nEND\n";
  invoker_.Set("fails", failed);
  const auto got = Invoke("fails", "{}", "X-Amz-Log-Type: Tail\r\n");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.Header("X-Amz-Function-Error"), "Unhandled");
  EXPECT_EQ(DecodeBase64(got.Header("X-Amz-Log-Result")).value(), "START\nEND\n");
}

TEST_F(LambdaInvokeTest, AnAnswerThatIsTooLargeIsTheFunctionsFailure) {
  invoker_.Set("large", Answered(std::string(kMaxAnswerBytes + 1, '1')));
  const auto got = Invoke("large");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.Header("X-Amz-Function-Error"), "Unhandled");
  EXPECT_NE(got.body.find("Function.ResponseSizeTooLarge"), std::string::npos) << got.body;
  invoker_.Set("large", Answered(std::string(kMaxAnswerBytes, '1')));
  EXPECT_EQ(Invoke("large").body.size(), kMaxAnswerBytes);
}

TEST_F(LambdaInvokeTest, TheEventMustBeJson) {
  for (const char* event : {"{", "hello", "{\"a\":1}x", "\"\xff\""}) {
    const auto got = Invoke("hello", event);
    EXPECT_EQ(got.status, 400) << event;
    EXPECT_EQ(got.Header("x-amzn-ErrorType"), "InvalidRequestContentException");
  }
  EXPECT_EQ(Invoke("hello", "").status, 200);
  EXPECT_EQ(invoker_.last().event, "{}");
  EXPECT_EQ(Invoke("hello", "[1,\"\xc3\xa9\"]").status, 200);
}

TEST_F(LambdaInvokeTest, BoundsTheEvent) {
  const std::string largest = "\"" + std::string(kMaxEventBytes - 2, 'x') + "\"";
  EXPECT_EQ(Invoke("hello", largest).status, 200);
  EXPECT_EQ(invoker_.last().event.size(), kMaxEventBytes);
  const auto got = Invoke("hello", largest + " ");
  EXPECT_EQ(got.status, 413);
  EXPECT_EQ(got.Header("x-amzn-ErrorType"), "RequestTooLargeException");
  EXPECT_NE(got.body.find("6291456"), std::string::npos) << got.body;
}

TEST_F(LambdaInvokeTest, TakesEvents) {
  const auto got = Invoke("hello:live", R"({"a":1})", "X-Amz-Invocation-Type: Event\r\n");
  EXPECT_EQ(got.status, 202);
  EXPECT_EQ(got.body, "");
  ASSERT_EQ(events_.accepted().size(), 1U);
  EXPECT_EQ(events_.accepted()[0].qualifier, "live");
  EXPECT_EQ(events_.accepted()[0].request_id, got.Header("X-Amzn-RequestId"));
  const auto old = Request("POST", "/2014-11-13/functions/hello/invoke-async/", "{}");
  EXPECT_EQ(old.status, 202);
  EXPECT_EQ(old.body, R"({"Status":202})");
  EXPECT_EQ(events_.accepted().size(), 2U);
}

TEST_F(LambdaInvokeTest, RefusesEvents) {
  const std::string event = "X-Amz-Invocation-Type: Event\r\n";
  EXPECT_EQ(Invoke("missing", "{}", event).status, 404);
  EXPECT_EQ(Invoke("stopping", "{}", event).status, 503);
  EXPECT_EQ(Invoke("full", "{}", event).status, 500);
  EXPECT_EQ(Invoke("hello", "\"" + std::string(kMaxAsyncEventBytes, 'x') + "\"", event).status, 413);
  EXPECT_TRUE(events_.accepted().empty());
}

TEST_F(LambdaInvokeTest, DryRunsRunNothing) {
  const std::string dry = "X-Amz-Invocation-Type: DryRun\r\n";
  EXPECT_EQ(Invoke("hello", "{}", dry).status, 204);
  EXPECT_EQ(Invoke("missing", "{}", dry).status, 404);
  EXPECT_EQ(invoker_.last().request_id, "") << "only checked";
}

TEST_F(LambdaInvokeTest, WordsRefusalsAsLambdaDoes) {
  const auto missing = Invoke("missing:live");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.Header("x-amzn-ErrorType"), "ResourceNotFoundException");
  EXPECT_NE(missing.body.find("arn:aws:lambda:us-east-1:000000000000:function:missing:live"), std::string::npos);

  SetRefusal("pending", Kind::kNotReady, "");
  const auto pending = Invoke("pending");
  EXPECT_EQ(pending.status, 409);
  EXPECT_EQ(pending.Header("x-amzn-ErrorType"), "ResourceConflictException");
  EXPECT_NE(pending.body.find("Pending"), std::string::npos);

  SetRefusal("throttled", Kind::kThrottled, "", "ReservedFunctionConcurrentInvocationLimitExceeded");
  const auto throttled = Invoke("throttled");
  EXPECT_EQ(throttled.status, 429);
  EXPECT_EQ(throttled.Header("x-amzn-ErrorType"), "TooManyRequestsException");
  EXPECT_EQ(throttled.Header("Retry-After"), "1");
  EXPECT_NE(throttled.body.find("ReservedFunctionConcurrentInvocationLimitExceeded"), std::string::npos);

  SetRefusal("unavailable", Kind::kUnavailable, "no microVM could be made");
  const auto unavailable = Invoke("unavailable");
  EXPECT_EQ(unavailable.status, 503);
  EXPECT_NE(unavailable.body.find("no microVM could be made"), std::string::npos);
}

TEST_F(LambdaInvokeTest, RefusesUnknownTypes) {
  EXPECT_EQ(Invoke("hello", "{}", "X-Amz-Invocation-Type: Later\r\n").status, 400);
  EXPECT_EQ(Invoke("hello", "{}", "X-Amz-Log-Type: All\r\n").status, 400);
}

TEST_F(LambdaInvokeTest, PassesTheClientContext) {
  Invoke("hello", "{}", "X-Amz-Client-Context: " + EncodeBase64(R"({"custom":{}})") + "\r\n");
  EXPECT_EQ(invoker_.last().client_context, R"({"custom":{}})");
  EXPECT_EQ(Invoke("hello", "{}", "X-Amz-Client-Context: ???\r\n").status, 400);
  EXPECT_EQ(Invoke("hello", "{}", "X-Amz-Client-Context: " + EncodeBase64("no json") + "\r\n").status, 400);
}

TEST_F(LambdaInvokeTest, CancelsWhenTheClientGoes) {
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  ASSERT_TRUE(invoker_.AwaitHanging());
  client.Close();
  EXPECT_TRUE(invoker_.AwaitCancelled());
}

TEST_F(LambdaInvokeTest, AnswersThatComeLater) {
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  ASSERT_TRUE(invoker_.AwaitHanging());
  invoker_.Release(Answered("1"));
  EXPECT_EQ(client.ReadAnswer().body, "1");
}

}  // namespace
}  // namespace snapfaas::gateway
