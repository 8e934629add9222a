#include "gateway/native_api.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/json.h"
#include "gateway/gateway_fixture_for_tests.h"
#include "gateway/openapi_document.h"

namespace snapfaas::gateway {
namespace {

// As much of JSON Schema as openapi.json uses: $ref, type, enum, minimum, required, properties, items. Where there are
// properties, there must be no others.
class SchemaChecker {
 public:
  explicit SchemaChecker(const Json& document) : document_(document) {}

  // What is wrong; empty: nothing.
  std::string Check(const Json& value, const Json& schema, const std::string& where = "$") const {
    if (const auto ref = schema.find("$ref"); ref != schema.end()) {
      return Check(value, document_.at(Json::json_pointer(ref->get<std::string>().substr(1))), where);
    }
    const std::string type = schema.at("type");
    if (!HasType(value, type)) return where + " is no " + type + ": " + value.dump();
    if (const auto allowed = schema.find("enum"); allowed != schema.end()) {
      if (std::find(allowed->begin(), allowed->end(), value) == allowed->end()) return where + " is not in its enum";
    }
    if (schema.contains("minimum") && value < schema.at("minimum")) return where + " is below its minimum";
    if (type == "array") return CheckItems(value, schema, where);
    if (type == "object" && schema.contains("properties")) return CheckMembers(value, schema, where);
    return "";
  }

 private:
  static bool HasType(const Json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "integer") return value.is_number_integer();
    return type == "number" && value.is_number();
  }

  std::string CheckItems(const Json& value, const Json& schema, const std::string& where) const {
    for (size_t i = 0; i < value.size(); ++i) {
      auto wrong = Check(value[i], schema.at("items"), fmt::format("{}[{}]", where, i));
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  std::string CheckMembers(const Json& value, const Json& schema, const std::string& where) const {
    for (const std::string name : schema.at("required")) {
      if (!value.contains(name)) return fmt::format("{} lacks {}", where, name);
    }
    for (const auto& [name, member] : value.items()) {
      if (!schema.at("properties").contains(name)) return fmt::format("{} has {}, which is not described", where, name);
      auto wrong = Check(member, schema.at("properties").at(name), fmt::format("{}.{}", where, name));
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  const Json& document_;
};

TEST(SchemaChecker, FindsEachFault) {
  const Json document = Json::parse(R"({"s":{"type":"object","required":["a"],"properties":{
      "a":{"type":"integer","minimum":0},"b":{"type":"array","items":{"type":"string","enum":["x"]}}}}})");
  const SchemaChecker checker(document);
  const Json schema = {{"$ref", "#/s"}};
  EXPECT_EQ(checker.Check(Json::parse(R"({"a":1,"b":["x"]})"), schema), "");
  for (const char* wrong :
       {"[]", "{}", R"({"a":"1"})", R"({"a":-1})", R"({"a":1,"c":1})", R"({"a":1,"b":[1]})", R"({"a":1,"b":["y"]})"}) {
    EXPECT_NE(checker.Check(Json::parse(wrong), schema), "") << wrong;
  }
}

class NativeApiTest : public GatewayFixture {
 protected:
  void SetUp() override { Start(); }

  const Json description_ = Json::parse(OpenApiDocument());
};

// {name} stands for a function that is there.
std::string Fill(std::string path) {
  const size_t open = path.find('{');
  return open == std::string::npos ? path : path.replace(open, path.find('}') - open + 1, "hello");
}

TEST_F(NativeApiTest, AnswersEveryDescribedPathAsDescribed) {
  const SchemaChecker checker(description_);
  std::set<std::string> seen;
  for (const auto& [path, operations] : description_.at("paths").items()) {
    ASSERT_EQ(operations.size(), 1U) << path;
    const Json& content = operations.at("get").at("responses").at("200").at("content");
    seen.insert(path);
    if (path == "/v1/events") continue;  // never ends: below
    const auto got = Request("GET", Fill(path));
    EXPECT_EQ(got.status, 200) << path;
    ASSERT_TRUE(content.contains(got.Header("Content-Type"))) << path;
    EXPECT_EQ(checker.Check(Json::parse(got.body), content.at("application/json").at("schema")), "") << path;

    const auto refused = Request("POST", Fill(path), "{}");
    EXPECT_EQ(refused.status, 405) << path;
    EXPECT_EQ(checker.Check(Json::parse(refused.body), {{"$ref", "#/components/schemas/Error"}}), "");
  }
  EXPECT_EQ(seen, (std::set<std::string>{"/v1/node", "/v1/vms", "/v1/snapshots", "/v1/runtimes",
                                         "/v1/functions/{name}/log", "/v1/events", "/v1/openapi.json"}));
}

TEST_F(NativeApiTest, ErrorsSayWhatTheyAre) {
  const SchemaChecker checker(description_);
  const Json schema = {{"$ref", "#/components/schemas/Error"}};
  const auto check = [&](const std::string& target, int status, const std::string& code) {
    const auto got = Request("GET", target);
    EXPECT_EQ(got.status, status) << target;
    const Json json = Json::parse(got.body);
    EXPECT_EQ(checker.Check(json, schema), "");
    EXPECT_EQ(json["error"]["code"], code) << target;
  };
  check("/v1/nothing", 404, ErrorCodeName(ErrorCode::kNotFound).data());
  check("/v1/functions/other/log", 404, ErrorCodeName(ErrorCode::kNotFound).data());
  check("/v1/functions/hello/log?from=x", 400, ErrorCodeName(ErrorCode::kInvalidArgument).data());
  check("/v1/functions/%zz/log", 400, ErrorCodeName(ErrorCode::kInvalidArgument).data());
  view_.is_broken = true;
  check("/v1/snapshots", 503, ErrorCodeName(ErrorCode::kUnavailable).data());
}

TEST_F(NativeApiTest, ReadsLogsPieceByPiece) {
  const Json first = Json::parse(Request("GET", "/v1/functions/hello/log?max=7").body);
  EXPECT_EQ(first["text"], "a line\n");
  EXPECT_EQ(first["next"], 7);
  const Json second = Json::parse(Request("GET", "/v1/functions/hello/log?from=7").body);
  EXPECT_EQ(second["text"], "another \xef\xbf\xbd\n") << "bytes that are no UTF-8 are replaced";
}

TEST_F(NativeApiTest, StreamsEvents) {
  HttpClientForTests client = Connect();
  client.SendRequest("GET", "/v1/events");
  EXPECT_EQ(client.ReadHead().Header("Content-Type"), "text/event-stream");
  ASSERT_TRUE(view_.AwaitSubscribed(true));
  view_.Emit({1000, "deployed", R"({"function":"hello"})"});
  const std::string text = client.ReadChunk().value_or("");
  const std::string expected =
      "event: deployed\ndata: {\"unix_ms\":1000,\"kind\":\"deployed\",\"what\":{\"function\":\"hello\"}}\n\n";
  EXPECT_EQ(text, expected);
  const Json data = Json::parse(text.substr(text.find("data: ") + 6));
  EXPECT_EQ(SchemaChecker(description_).Check(data, {{"$ref", "#/components/schemas/Event"}}), "");
  client.Close();
  EXPECT_TRUE(view_.AwaitSubscribed(false));
}

TEST_F(NativeApiTest, StopEndsEventStreams) {
  HttpClientForTests client = Connect();
  client.SendRequest("GET", "/v1/events");
  EXPECT_EQ(client.ReadHead().status, 200);
  ASSERT_TRUE(view_.AwaitSubscribed(true));
  gateway_->Stop(std::chrono::seconds(20));
  EXPECT_TRUE(view_.AwaitSubscribed(false));
}

TEST(NativeApi, TellsSlowClientsWhatTheyLost) {
  FakeView view;
  NativeApi api(view, 150);
  const auto exchange = std::make_shared<Exchange>(nullptr);
  HttpRequest request;
  request.method = "GET";
  request.path = "/v1/events";
  api.Handle(request, Responder(exchange));
  for (int i = 0; i < 4; ++i) view.Emit({1000, "evicted", "{}"});
  const std::string first = exchange->Take().chunk;
  EXPECT_EQ(first.find("event: lost"), std::string::npos);
  view.Emit({1000, "evicted", "{}"});
  EXPECT_EQ(exchange->Take().chunk.substr(0, 35), "event: lost\ndata: {\"count\":2}\n\neven");
  exchange->Disconnect();
  EXPECT_TRUE(view.AwaitSubscribed(false));
}

}  // namespace
}  // namespace snapfaas::gateway
