#include "gateway/gateway.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>

#include "base/clock.h"
#include "gateway/gateway_fixture_for_tests.h"

namespace snapfaas::gateway {
namespace {

const http::Credentials kCredentials{"AKIDEXAMPLE", "secret"};

class GatewayTest : public GatewayFixture {
 protected:
  static GatewayOptions WithCredentials() {
    GatewayOptions options;
    options.credentials = kCredentials;
    return options;
  }

  // As header lines.
  static std::string Signature(const std::string& method, const std::string& path, const std::string& query,
                               const std::string& body, const http::Credentials& credentials = kCredentials) {
    const http::Fields headers = {{"Host", "localhost"}};
    const auto added =
        http::SignRequest(credentials, {}, RealtimeNanos() / 1'000'000'000, {method, path, query, headers, body});
    std::string lines;
    for (const auto& [name, value] : *added) lines += fmt::format("{}: {}\r\n", name, value);
    return lines;
  }
};

TEST_F(GatewayTest, LeadsEachRequestToItsPart) {
  Start();
  invoker_.Set("hello", Answered("1"));
  EXPECT_EQ(Invoke("hello").body, "1");
  EXPECT_EQ(Request("GET", "/2015-03-31/functions/").body, "managed 0");
  EXPECT_EQ(Request("GET", "/2015-03-31/functions/hello/invocations").body, "managed 0");
  EXPECT_EQ(Request("GET", "/healthz").status, 200);
  EXPECT_EQ(Request("GET", "/v1/node").status, 200);
  const auto unknown = Request("GET", "/nothing");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.Header("x-amzn-ErrorType"), "UnknownOperationException");
  EXPECT_EQ(unknown.Header("X-Amzn-RequestId").size(), 36U);
}

TEST_F(GatewayTest, TakesUploadsAndBoundsThem) {
  Start();
  const std::string zip(8U << 20, 'x');
  EXPECT_EQ(Request("POST", "/2015-03-31/functions", zip).body, "managed 8388608");
  EXPECT_EQ(Request("PUT", "/2015-03-31/functions/a/code", zip).body, "managed 8388608");
  const auto other = Request("PUT", "/2015-03-31/functions/a/configuration", zip);
  EXPECT_EQ(other.status, 413);
  EXPECT_EQ(other.Header("x-amzn-ErrorType"), "RequestTooLargeException");
  EXPECT_EQ(other.Header("X-Amzn-RequestId").size(), 36U);
  HttpClientForTests client = Connect();
  client.Send("POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 73400321\r\n\r\n");
  EXPECT_EQ(client.ReadAnswer().status, 413);
}

TEST_F(GatewayTest, SignedRequestsOnlyWhereThereAreCredentials) {
  Start(WithCredentials());
  invoker_.Set("hello", Answered("1"));
  const std::string path = "/2015-03-31/functions/hello/invocations";
  EXPECT_EQ(Request("POST", path, "{}", Signature("POST", path, "", "{}")).status, 200);
  EXPECT_EQ(
      Request("GET", "/v1/functions/hello/log?max=5", "", Signature("GET", "/v1/functions/hello/log", "max=5", ""))
          .status,
      200);

  const auto missing = Invoke("hello");
  EXPECT_EQ(missing.status, 403);
  EXPECT_EQ(missing.Header("x-amzn-ErrorType"), "MissingAuthenticationTokenException");
  const auto wrong = Request("POST", path, "{}", Signature("POST", path, "", "{}", {"AKIDEXAMPLE", "guessed"}));
  EXPECT_EQ(wrong.status, 403);
  EXPECT_EQ(wrong.Header("x-amzn-ErrorType"), "InvalidSignatureException");
  const auto stranger = Request("POST", path, "{}", Signature("POST", path, "", "{}", {"OTHER", "secret"}));
  EXPECT_EQ(stranger.Header("x-amzn-ErrorType"), "UnrecognizedClientException");
  EXPECT_EQ(Request("POST", path, "[]", Signature("POST", path, "", "{}")).status, 403) << "another body";
  EXPECT_EQ(Request("GET", "/2015-03-31/functions").status, 403);
  EXPECT_EQ(Request("GET", "/v1/node").status, 403);
  EXPECT_EQ(Request("GET", "/healthz").status, 200);
  EXPECT_EQ(Request("GET", "/metrics").status, 200);
}

TEST_F(GatewayTest, WebPagesMayNotUseANodeWithoutCredentials) {
  Start();
  invoker_.Set("hello", Answered("1"));
  EXPECT_EQ(Invoke("hello", "{}", "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(Invoke("hello", "{}", "Host: evil.example:8480\r\n").status, 403) << "a name server may say anything";
  for (const char* host : {"localhost:8480", "127.0.0.1:8480", "[::1]:8480", "[::1]", "192.168.1.2", "a.localhost"}) {
    EXPECT_EQ(Invoke("hello", "{}", "Host: " + std::string(host) + "\r\n").status, 200) << host;
  }
}

TEST_F(GatewayTest, CountsForPrometheus) {
  Start();
  auto answer = Answered("1");
  answer.timings.start = faas::StartKind::kRestored;
  answer.timings.restore = 20;
  answer.log_tail = "REPORT RequestId: x\tMemory Size: 128 MB\tMax Memory Used: 38 MB\t\n";
  invoker_.Set("cold", answer);
  auto late = Answered(R"({"errorType":"Sandbox.Timedout"})");
  late.function_error = "Unhandled";
  invoker_.Set("late", late);
  Invoke("cold");
  Invoke("cold");
  Invoke("late");
  Invoke("missing");
  const auto got = Request("GET", "/metrics");
  EXPECT_EQ(got.Header("Content-Type"), Metrics::kContentType);
  for (const char* line :
       {"faas_invocations_total{faas_name=\"cold\"} 2", "faas_coldstarts_total{faas_name=\"cold\"} 2",
        "faas_init_duration_seconds_sum{faas_name=\"cold\"} 0.04",
        "faas_mem_usage_bytes_sum{faas_name=\"cold\"} 79691776", "faas_errors_total{faas_name=\"late\"} 1",
        "faas_timeouts_total{faas_name=\"late\"} 1", "snapfaas_vms_busy 3", "snapfaas_evictions_total 7",
        "snapfaas_up 1"}) {
    EXPECT_NE(got.body.find(line), std::string::npos) << line << "\n" << got.body;
  }
  EXPECT_EQ(got.body.find("faas_name=\"missing\""), std::string::npos);
}

TEST_F(GatewayTest, StopCancelsWhatOutlastsItsGrace) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  ASSERT_TRUE(invoker_.AwaitHanging());
  gateway_->Stop(std::chrono::milliseconds(0));
  EXPECT_TRUE(invoker_.AwaitCancelled());
  EXPECT_TRUE(client.AwaitEnd());
}

TEST_F(GatewayTest, StopWaitsForAnswers) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  ASSERT_TRUE(invoker_.AwaitHanging());
  auto stopped = std::async(std::launch::async, [this] { gateway_->Stop(kPatience); });
  invoker_.Release(Answered("1"));
  EXPECT_EQ(client.ReadAnswer().body, "1");
  stopped.get();
}

TEST_F(GatewayTest, AnswersMayOutliveTheGateway) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  ASSERT_TRUE(invoker_.AwaitHanging());
  HttpClientForTests other = Connect();
  other.SendRequest("POST", "/2015-03-31/functions/hang/invocations", "{}");
  gateway_.reset();
  invoker_.Release(Answered("1"));
}

TEST_F(GatewayTest, ListensAtLoopbackUnlessItKnowsItsClients) {
  GatewayOptions options;
  options.port = 0;
  options.address = "0.0.0.0";
  const auto refused = Gateway::Create(options, Services());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().Message().find("0.0.0.0"), std::string::npos);
  options.remote_access = RemoteAccess::kAllowed;
  EXPECT_TRUE(Gateway::Create(options, Services()));
  options.remote_access = RemoteAccess::kNeedsCredentials;
  options.credentials = kCredentials;
  EXPECT_TRUE(Gateway::Create(options, Services()));
}

}  // namespace
}  // namespace snapfaas::gateway
