#include "gateway/function_url.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "gateway/gateway_fixture_for_tests.h"

namespace snapfaas::gateway {
namespace {

HttpRequest RequestTo(const std::string& host, const std::string& path) {
  HttpRequest request;
  request.method = "GET";
  request.path = path;
  request.headers = {{"Host", host}};
  return request;
}

TEST(FunctionUrl, IsFoundByHostAndByPath) {
  const auto by_host = FindUrlTarget(RequestTo("ABC1.lambda-url.localhost:8480", "/a%2Fb"));
  ASSERT_TRUE(by_host);
  EXPECT_EQ(by_host->id, "abc1");
  EXPECT_EQ(by_host->path, "/a%2Fb");
  const auto by_path = FindUrlTarget(RequestTo("127.0.0.1:8480", "/function-url/abc1/x/y"));
  ASSERT_TRUE(by_path);
  EXPECT_EQ(by_path->id, "abc1");
  EXPECT_EQ(by_path->path, "/x/y");
  EXPECT_EQ(FindUrlTarget(RequestTo("localhost", "/function-url/abc1"))->path, "/");
  EXPECT_EQ(FindUrlTarget(RequestTo("abc1.lambda-url.us-east-1.example", "/"))->id, "abc1");
  EXPECT_FALSE(FindUrlTarget(RequestTo("localhost:8480", "/2015-03-31/functions")));
  EXPECT_FALSE(FindUrlTarget(RequestTo("abc1.lambda-urls.localhost", "/")));
  EXPECT_FALSE(FindUrlTarget(RequestTo("abc1.lambda-url", "/")));
}

Json EventOf(const HttpRequest& request, const Caller& caller = std::nullopt) {
  return Json::parse(MakeUrlEvent(request, *FindUrlTarget(request), {"id-1", "000000000000", 1583348638390, caller}));
}

TEST(FunctionUrl, MakesTheEventOfFormat2) {
  HttpRequest request = RequestTo("abc1.lambda-url.localhost:8480", "/my/path");
  request.method = "POST";
  request.query = "a=1&a=2&b=x%20y&c";
  request.headers = {{"Host", "abc1.lambda-url.localhost:8480"},
                     {"X-Twice", "1"},
                     {"x-twice", "2"},
                     {"Cookie", "c1=1; c2=2"},
                     {"User-Agent", "agent"},
                     {"Content-Type", "application/json; charset=utf-8"}};
  request.body = R"({"k":"é"})";
  request.peer = "127.0.0.1";
  const Json expected = Json::parse(R"json({
    "version": "2.0", "routeKey": "$default", "rawPath": "/my/path", "rawQueryString": "a=1&a=2&b=x%20y&c",
    "cookies": ["c1=1", "c2=2"],
    "headers": {"host": "abc1.lambda-url.localhost:8480", "x-twice": "1,2", "user-agent": "agent",
                "content-type": "application/json; charset=utf-8"},
    "queryStringParameters": {"a": "1,2", "b": "x y", "c": ""},
    "requestContext": {
      "accountId": "anonymous", "apiId": "abc1", "domainName": "abc1.lambda-url.localhost", "domainPrefix": "abc1",
      "http": {"method": "POST", "path": "/my/path", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
               "userAgent": "agent"},
      "requestId": "id-1", "routeKey": "$default", "stage": "$default",
      "time": "04/Mar/2020:19:03:58 +0000", "timeEpoch": 1583348638390},
    "body": "{\"k\":\"é\"}", "isBase64Encoded": false})json");
  EXPECT_EQ(EventOf(request), expected);
}

TEST(FunctionUrl, EncodesBinaryBodies) {
  HttpRequest request = RequestTo("abc1.lambda-url.localhost", "/");
  request.body = "a=1";
  request.headers.emplace_back("Content-Type", "application/octet-stream");
  EXPECT_EQ(EventOf(request).at("body"), EncodeBase64("a=1"));
  EXPECT_EQ(EventOf(request).at("isBase64Encoded"), true);
  request.headers.back().second = "text/plain";
  EXPECT_EQ(EventOf(request).at("body"), "a=1");
  request.body = "\xff";
  EXPECT_EQ(EventOf(request).at("body"), EncodeBase64("\xff")) << "which JSON cannot hold";
  request.body.clear();
  EXPECT_FALSE(EventOf(request).contains("body"));
}

TEST(FunctionUrl, NamesTheCaller) {
  const HttpRequest request = RequestTo("abc1.lambda-url.localhost", "/");
  EXPECT_FALSE(EventOf(request)["requestContext"].contains("authorizer"));
  EXPECT_EQ(EventOf(request, "AKID")["requestContext"]["authorizer"]["iam"]["accessKey"], "AKID");
  EXPECT_EQ(EventOf(request, "AKID")["requestContext"]["accountId"], "000000000000");
}

TEST(FunctionUrl, AnswersAsTheFunctionSays) {
  const auto got = FromUrlAnswer(
      Answered(R"({"statusCode":201,"headers":{"X-A":"1","Content-Type":"text/html","X-N":5},"cookies":["a=1","b=2"],)"
               R"("body":"<p>"})"));
  EXPECT_EQ(got.status, 201);
  EXPECT_EQ(got.body, "<p>");
  EXPECT_EQ(FindField(got.headers, "Content-Type"), "text/html");
  EXPECT_EQ(FindField(got.headers, "X-A"), "1");
  EXPECT_EQ(FindField(got.headers, "X-N"), "5");
  EXPECT_EQ(std::count_if(got.headers.begin(), got.headers.end(), [](auto& f) { return f.first == "Set-Cookie"; }), 2);

  const auto binary = FromUrlAnswer(Answered(R"({"statusCode":200,"body":"AP8=","isBase64Encoded":true})"));
  EXPECT_EQ(binary.body, std::string("\0\xff", 2));
  EXPECT_EQ(FindField(binary.headers, "Content-Type"), "application/json");
}

TEST(FunctionUrl, TakesAnythingElseAsTheBody) {
  for (const char* payload : {R"("Hello")", R"({"message":"hi"})", "[1]", "null", "3"}) {
    const auto got = FromUrlAnswer(Answered(payload));
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, payload);
    EXPECT_EQ(FindField(got.headers, "Content-Type"), "application/json");
  }
}

TEST(FunctionUrl, AFailureIsA502WithoutParticulars) {
  auto failed = Answered(R"({"errorMessage":"the password is x"})");
  failed.function_error = "Unhandled";
  EXPECT_EQ(FromUrlAnswer(failed).status, 502);
  EXPECT_EQ(FromUrlAnswer(failed).body, R"({"message":"Internal Server Error"})");
  for (const char* payload : {R"({"statusCode":"200"})", R"({"statusCode":99})", R"({"statusCode":1000})",
                              R"({"statusCode":200,"body":"%","isBase64Encoded":true})"}) {
    EXPECT_EQ(FromUrlAnswer(Answered(payload)).status, 502) << payload;
  }
  node::InvocationAnswer throttled;
  throttled.kind = node::InvocationAnswer::Kind::kThrottled;
  EXPECT_EQ(FromUrlAnswer(throttled).status, 429);
}

registry::Cors SomeCors() {
  registry::Cors cors;
  cors.allow_origins = {"https://a.example"};
  cors.allow_methods = {"GET", "PUT"};
  cors.allow_headers = {"x-a"};
  cors.expose_headers = {"x-b"};
  cors.max_age_s = 60;
  return cors;
}

TEST(FunctionUrl, AnswersPreflights) {
  HttpRequest request = RequestTo("abc1.lambda-url.localhost", "/");
  request.method = "OPTIONS";
  EXPECT_FALSE(AnswerPreflight(SomeCors(), request)) << "a plain OPTIONS is the function's";
  request.headers.emplace_back("Origin", "https://a.example");
  request.headers.emplace_back("Access-Control-Request-Method", "PUT");
  const auto got = AnswerPreflight(SomeCors(), request);
  ASSERT_TRUE(got);
  EXPECT_EQ(FindField(got->headers, "Access-Control-Allow-Origin"), "https://a.example");
  EXPECT_EQ(FindField(got->headers, "Access-Control-Allow-Methods"), "GET,PUT");
  EXPECT_EQ(FindField(got->headers, "Access-Control-Allow-Headers"), "x-a");
  EXPECT_EQ(FindField(got->headers, "Access-Control-Max-Age"), "60");
  request.headers[1].second = "https://b.example";
  EXPECT_TRUE(AnswerPreflight(SomeCors(), request)->headers.empty());
}

TEST(FunctionUrl, CorsReplacesTheFunctionsOwnFields) {
  HttpResponse response{200, {{"access-control-allow-origin", "*"}, {"X-A", "1"}}, ""};
  ApplyCors(SomeCors(), "https://b.example", response);
  EXPECT_EQ(response.headers.size(), 1U);
  ApplyCors(SomeCors(), "https://a.example", response);
  EXPECT_EQ(FindField(response.headers, "Access-Control-Allow-Origin"), "https://a.example");
  EXPECT_EQ(FindField(response.headers, "Access-Control-Expose-Headers"), "x-b");
  EXPECT_EQ(FindField(response.headers, "Vary"), "Origin");
  registry::Cors any = SomeCors();
  any.allow_origins = {"*"};
  ApplyCors(any, "https://c.example", response);
  EXPECT_EQ(FindField(response.headers, "Access-Control-Allow-Origin"), "*");
  any.allow_credentials = true;
  ApplyCors(any, "https://c.example", response);
  EXPECT_EQ(FindField(response.headers, "Access-Control-Allow-Origin"), "https://c.example");
}

class FunctionUrlTest : public GatewayFixture {
 protected:
  void SetUp() override {
    url_.id = "abc1";
    url_.function = "web";
    url_.qualifier = "live";
    url_.auth = registry::UrlAuth::kNone;
    invoker_.Set("web", Answered(R"({"statusCode":200,"body":"page"})"));
  }
};

TEST_F(FunctionUrlTest, CallsItsFunction) {
  Start();
  const auto got = Request("GET", "/p?q=1", "", "Host: abc1.lambda-url.localhost\r\nOrigin: http://any\r\n");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, "page");
  EXPECT_EQ(invoker_.last().function, "web");
  EXPECT_EQ(invoker_.last().qualifier, "live");
  EXPECT_EQ(Json::parse(invoker_.last().event).at("rawPath"), "/p");
  EXPECT_EQ(Json::parse(invoker_.last().event).at("requestContext").at("requestId"), got.Header("X-Amzn-RequestId"));
  EXPECT_EQ(Request("DELETE", "/function-url/abc1/x").body, "page");
  EXPECT_EQ(Json::parse(invoker_.last().event).at("requestContext").at("http").at("method"), "DELETE");
  EXPECT_EQ(Request("GET", "/function-url/other/x").status, 404);
  EXPECT_EQ(Request("POST", "/function-url/abc1/", std::string(6'291'457, 'x')).status, 413);
  EXPECT_EQ(Request("GET", "/healthz", "", "Host: abc1.lambda-url.localhost\r\n").body, "page")
      << "all paths are the function's";
}

TEST_F(FunctionUrlTest, WithIamTakesSignedRequestsOnly) {
  url_.auth = registry::UrlAuth::kAwsIam;
  GatewayOptions options;
  options.credentials = http::Credentials{"AKIDEXAMPLE", "secret"};
  Start(options);
  EXPECT_EQ(Request("GET", "/function-url/abc1/x").status, 403);
  const http::Fields headers = {{"Host", "localhost"}};
  const auto added = http::SignRequest(*options.credentials, {}, RealtimeNanos() / 1'000'000'000,
                                       {"GET", "/function-url/abc1/x", "", headers, ""});
  std::string lines;
  for (const auto& [name, value] : *added) lines += fmt::format("{}: {}\r\n", name, value);
  EXPECT_EQ(Request("GET", "/function-url/abc1/x", "", lines).body, "page");
  EXPECT_EQ(Json::parse(invoker_.last().event)["requestContext"]["authorizer"]["iam"]["accessKey"], "AKIDEXAMPLE");
  // The others stay open to everybody.
  url_.auth = registry::UrlAuth::kNone;
  EXPECT_EQ(Request("GET", "/function-url/abc1/x").body, "page");
}

TEST_F(FunctionUrlTest, WithIamAndNoCredentialsNobodyComesIn) {
  url_.auth = registry::UrlAuth::kAwsIam;
  Start();
  EXPECT_EQ(Request("GET", "/function-url/abc1/x").status, 403);
}

}  // namespace
}  // namespace snapfaas::gateway
