// Versions, aliases and settings through Lambda's API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/lambda_api.h"
#include "gateway/lambda_api_for_tests.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

constexpr const char* kArn = "arn:aws:lambda:us-east-1:000000000000:function:f";

// An active function "f" with the version 1.
class LambdaSettingsTest : public LambdaApiFixture {
 protected:
  void SetUp() override {
    LambdaApiFixture::SetUp();
    Make("f");
    first_ = Ok("POST", "/2015-03-31/functions/f/versions", {{"Description", "first"}}, 201);
    Finish("f");
  }

  void PublishAnother() {
    Ok("PUT", "/2015-03-31/functions/f/code", {{"ZipFile", EncodeBase64("another")}});
    Finish("f");
    Ok("POST", "/2015-03-31/functions/f/versions", nullptr, 201);
    Finish("f");
  }

  Json first_;
};

TEST_F(LambdaSettingsTest, PublishedVersions) {
  EXPECT_EQ(first_["Version"], "1");
  EXPECT_EQ(first_["Description"], "first");
  EXPECT_EQ(first_["FunctionArn"], std::string(kArn) + ":1");
  EXPECT_EQ(first_["State"], "Pending");
  // The same again is no other version.
  EXPECT_EQ(Ok("POST", "/2015-03-31/functions/f/versions", Json::object(), 201)["Version"], "1");
  PublishAnother();
  const auto listed = Ok("GET", "/2015-03-31/functions/f/versions");
  std::vector<std::string> versions;
  for (const auto& one : listed["Versions"]) versions.push_back(one["Version"]);
  EXPECT_THAT(versions, ElementsAre("$LATEST", "1", "2"));
  EXPECT_THAT(Ok("GET", "/2015-03-31/functions/f/versions?MaxItems=1")["Versions"], SizeIs(1));
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f:1")["Configuration"]["Version"], "1");
  const auto other_code = Send("POST", "/2015-03-31/functions/f/versions", R"({"CodeSha256":"AAAA"})");
  EXPECT_EQ(ErrorType(other_code), "InvalidParameterValueException");
  EXPECT_THAT(other_code.body, HasSubstr("CodeSHA256 (AAAA) is different"));
  EXPECT_EQ(Send("POST", "/2015-03-31/functions/f/versions", R"({"RevisionId":"stale"})").status, 412);
}

TEST_F(LambdaSettingsTest, Aliases) {
  PublishAnother();
  const auto made = Ok("POST", "/2015-03-31/functions/f/aliases",
                       {{"Name", "live"},
                        {"FunctionVersion", "1"},
                        {"Description", "d"},
                        {"RoutingConfig", {{"AdditionalVersionWeights", {{"2", 0.25}}}}}},
                       201);
  EXPECT_EQ(made["AliasArn"], std::string(kArn) + ":live");
  EXPECT_EQ(made["RoutingConfig"]["AdditionalVersionWeights"]["2"], 0.25);
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f/aliases/live"), made);
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f:live/configuration")["FunctionArn"], std::string(kArn) + ":live");
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f:live/configuration")["Version"], "1");
  const auto moved =
      Ok("PUT", "/2015-03-31/functions/f/aliases/live",
         {{"FunctionVersion", "2"}, {"RoutingConfig", Json::object()}, {"RevisionId", made["RevisionId"]}});
  EXPECT_EQ(moved["FunctionVersion"], "2");
  EXPECT_EQ(moved["Description"], "d");
  EXPECT_FALSE(moved.contains("RoutingConfig"));
  EXPECT_THAT(Ok("GET", "/2015-03-31/functions/f/aliases")["Aliases"], SizeIs(1));
  EXPECT_THAT(Ok("GET", "/2015-03-31/functions/f/aliases?FunctionVersion=1")["Aliases"], SizeIs(0));
  EXPECT_EQ(Send("DELETE", "/2015-03-31/functions/f/aliases/live").status, 204);
  EXPECT_EQ(Send("DELETE", "/2015-03-31/functions/f/aliases/live").status, 204);
}

TEST_F(LambdaSettingsTest, AliasErrors) {
  const std::string aliases = "/2015-03-31/functions/f/aliases";
  const auto refused = [&](const Json& alias) { return Send("POST", aliases, alias.dump()); };
  EXPECT_EQ(ErrorType(refused({{"Name", "1"}, {"FunctionVersion", "1"}})), "ValidationException");
  EXPECT_EQ(ErrorType(refused({{"Name", "a"}})), "ValidationException");
  EXPECT_EQ(ErrorType(refused({{"Name", "a"}, {"FunctionVersion", "x"}})), "ValidationException");
  const auto no_version = refused({{"Name", "a"}, {"FunctionVersion", "9"}});
  EXPECT_EQ(no_version.status, 404);
  EXPECT_THAT(no_version.body, HasSubstr(std::string("Function not found: ") + kArn + ":9"));
  const auto weight = refused(
      {{"Name", "a"}, {"FunctionVersion", "1"}, {"RoutingConfig", {{"AdditionalVersionWeights", {{"2", 1.5}}}}}});
  EXPECT_EQ(ErrorType(weight), "ValidationException");
  const auto same = refused(
      {{"Name", "a"}, {"FunctionVersion", "1"}, {"RoutingConfig", {{"AdditionalVersionWeights", {{"1", 0.5}}}}}});
  EXPECT_EQ(ErrorType(same), "InvalidParameterValueException");
  Ok("POST", aliases, {{"Name", "a"}, {"FunctionVersion", "1"}}, 201);
  const auto again = refused({{"Name", "a"}, {"FunctionVersion", "1"}});
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(again.body, HasSubstr(std::string("Alias already exists: ") + kArn + ":a"));
  const auto missing = Send("GET", aliases + "/b");
  EXPECT_EQ(missing.status, 404);
  EXPECT_THAT(missing.body, HasSubstr(std::string("Cannot find alias arn: ") + kArn + ":b"));
  EXPECT_EQ(Send("PUT", aliases + "/b", "{}").status, 404);
  EXPECT_EQ(Send("PUT", aliases + "/a", R"({"RevisionId":"stale"})").status, 412);
}

TEST_F(LambdaSettingsTest, ReservedConcurrency) {
  EXPECT_EQ(Ok("GET", "/2019-09-30/functions/f/concurrency"), Json::object());
  EXPECT_EQ(Ok("PUT", "/2017-10-31/functions/f/concurrency", {{"ReservedConcurrentExecutions", 0}}),
            Json({{"ReservedConcurrentExecutions", 0}}));
  EXPECT_EQ(Ok("GET", "/2019-09-30/functions/f/concurrency")["ReservedConcurrentExecutions"], 0);
  const auto put = [this](const Json& value) {
    return Send("PUT", "/2017-10-31/functions/f/concurrency", Json{{"ReservedConcurrentExecutions", value}}.dump());
  };
  EXPECT_EQ(put(900).status, 200);
  const auto too_many = put(901);
  EXPECT_EQ(ErrorType(too_many), "InvalidParameterValueException");
  EXPECT_THAT(too_many.body, HasSubstr("below its minimum value of [100]"));
  EXPECT_EQ(ErrorType(put(-1)), "ValidationException");
  EXPECT_EQ(ErrorType(put(nullptr)), "ValidationException");
  EXPECT_EQ(Send("DELETE", "/2017-10-31/functions/f/concurrency").status, 204);
  EXPECT_EQ(Ok("GET", "/2019-09-30/functions/f/concurrency"), Json::object());
}

TEST_F(LambdaSettingsTest, AsynchronousInvocation) {
  const std::string config = "/2019-09-25/functions/f/event-invoke-config";
  const std::string target = "arn:aws:lambda:us-east-1:000000000000:function:g";
  EXPECT_THAT(Send("GET", config).body, HasSubstr("doesn't have an EventInvokeConfig"));
  EXPECT_EQ(Send("POST", config, R"({"MaximumRetryAttempts":1})").status, 404);
  const auto put = Ok("PUT", config,
                      {{"MaximumRetryAttempts", 0}, {"DestinationConfig", {{"OnFailure", {{"Destination", target}}}}}});
  EXPECT_EQ(put["FunctionArn"], std::string(kArn) + ":$LATEST");
  EXPECT_EQ(put["MaximumRetryAttempts"], 0);
  EXPECT_FALSE(put.contains("MaximumEventAgeInSeconds"));
  EXPECT_EQ(put["DestinationConfig"], Json({{"OnSuccess", Json::object()}, {"OnFailure", {{"Destination", target}}}}));
  EXPECT_TRUE(put["LastModified"].is_number());
  const auto updated = Ok("POST", config, {{"MaximumEventAgeInSeconds", 60}});
  EXPECT_EQ(updated["MaximumRetryAttempts"], 0);
  EXPECT_EQ(updated["MaximumEventAgeInSeconds"], 60);
  EXPECT_EQ(updated["DestinationConfig"], put["DestinationConfig"]);
  const auto replaced = Ok("PUT", config, {{"MaximumEventAgeInSeconds", 90}});
  EXPECT_FALSE(replaced.contains("MaximumRetryAttempts"));
  Ok("PUT", config + "?Qualifier=1", {{"MaximumRetryAttempts", 2}});
  EXPECT_EQ(Ok("GET", config + "?Qualifier=1")["MaximumRetryAttempts"], 2);
  EXPECT_THAT(Ok("GET", config + "/list")["FunctionEventInvokeConfigs"], SizeIs(2));
  EXPECT_EQ(Send("DELETE", config).status, 204);
  EXPECT_EQ(Send("DELETE", config).status, 404);
}

TEST_F(LambdaSettingsTest, AsynchronousInvocationErrors) {
  const auto refused = [this](const Json& config) {
    return Send("PUT", "/2019-09-25/functions/f/event-invoke-config", config.dump());
  };
  EXPECT_EQ(ErrorType(refused({{"MaximumRetryAttempts", 3}})), "ValidationException");
  EXPECT_EQ(ErrorType(refused({{"MaximumEventAgeInSeconds", 59}})), "ValidationException");
  EXPECT_EQ(ErrorType(refused({{"MaximumEventAgeInSeconds", 21601}})), "ValidationException");
  EXPECT_THAT(refused(Json::object()).body, HasSubstr("You must specify at least one"));
  for (const std::string destination : {"arn:aws:sqs:us-east-1:000000000000:q", "g", kArn}) {
    EXPECT_EQ(ErrorType(refused({{"DestinationConfig", {{"OnSuccess", {{"Destination", destination}}}}}})),
              "InvalidParameterValueException")
        << destination;
  }
  EXPECT_EQ(
      Send("PUT", "/2019-09-25/functions/f/event-invoke-config?Qualifier=9", R"({"MaximumRetryAttempts":1})").status,
      404);
}

TEST_F(LambdaSettingsTest, FunctionUrls) {
  const std::string url = "/2021-10-31/functions/f/url";
  const Json cors = {{"AllowOrigins", {"*"}}, {"AllowMethods", {"GET"}}, {"MaxAge", 60}, {"AllowCredentials", true}};
  const auto made = Ok("POST", url, {{"AuthType", "NONE"}, {"Cors", cors}}, 201);
  EXPECT_THAT(made["FunctionUrl"].get<std::string>(), MatchesRegex("http://[a-z2-7]{32}\\.node/"));
  EXPECT_EQ(made["FunctionArn"], kArn);
  EXPECT_EQ(made["AuthType"], "NONE");
  EXPECT_EQ(made["Cors"], cors);
  EXPECT_FALSE(made.contains("LastModifiedTime"));
  const auto got = Ok("GET", url);
  EXPECT_EQ(got["FunctionUrl"], made["FunctionUrl"]);
  EXPECT_TRUE(got.contains("LastModifiedTime"));
  EXPECT_EQ(Ok("PUT", url, {{"AuthType", "AWS_IAM"}})["AuthType"], "AWS_IAM");
  EXPECT_EQ(Ok("GET", url)["Cors"], cors);
  EXPECT_EQ(Send("POST", url, R"({"AuthType":"NONE"})").status, 409);
  Ok("POST", "/2015-03-31/functions/f/aliases", {{"Name", "live"}, {"FunctionVersion", "1"}}, 201);
  EXPECT_EQ(Ok("POST", url + "?Qualifier=live", {{"AuthType", "NONE"}}, 201)["FunctionArn"],
            std::string(kArn) + ":live");
  EXPECT_THAT(Ok("GET", "/2021-10-31/functions/f/urls")["FunctionUrlConfigs"], SizeIs(2));
  EXPECT_EQ(Send("DELETE", url).status, 204);
  EXPECT_EQ(Send("DELETE", url).status, 404);
  EXPECT_EQ(ErrorType(Send("POST", url, "{}")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("POST", url, R"({"AuthType":"SOME"})")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("POST", url + "?Qualifier=1", R"({"AuthType":"NONE"})")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("POST", url, R"({"AuthType":"NONE","InvokeMode":"RESPONSE_STREAM"})")),
            "InvalidParameterValueException");
}

TEST_F(LambdaSettingsTest, Policies) {
  const std::string policy = "/2015-03-31/functions/f/policy";
  const auto added = Ok("POST", policy,
                        {{"StatementId", "s3"},
                         {"Action", "lambda:InvokeFunction"},
                         {"Principal", "s3.amazonaws.com"},
                         {"SourceArn", "arn:aws:s3:::bucket"},
                         {"SourceAccount", "111122223333"}},
                        201);
  const auto statement = Json::parse(added["Statement"].get<std::string>());
  EXPECT_EQ(statement, Json({{"Sid", "s3"},
                             {"Effect", "Allow"},
                             {"Principal", {{"Service", "s3.amazonaws.com"}}},
                             {"Action", "lambda:InvokeFunction"},
                             {"Resource", kArn},
                             {"Condition",
                              {{"ArnLike", {{"AWS:SourceArn", "arn:aws:s3:::bucket"}}},
                               {"StringEquals", {{"AWS:SourceAccount", "111122223333"}}}}}}));
  const auto add = [&](const std::string& id, const std::string& principal) {
    return Send("POST", policy, Json{{"StatementId", id}, {"Action", "lambda:*"}, {"Principal", principal}}.dump());
  };
  EXPECT_EQ(add("s3", "*").status, 409);
  EXPECT_EQ(add("b", "111122223333").status, 201);
  EXPECT_EQ(ErrorType(add("a b", "*")), "ValidationException");
  const auto got = Ok("GET", policy);
  const auto document = Json::parse(got["Policy"].get<std::string>());
  EXPECT_EQ(document["Version"], "2012-10-17");
  ASSERT_THAT(document["Statement"], SizeIs(2));
  EXPECT_EQ(document["Statement"][1]["Principal"]["AWS"], "arn:aws:iam::111122223333:root");
  EXPECT_EQ(Send("DELETE", policy + "/s3?RevisionId=stale").status, 412);
  EXPECT_EQ(Send("DELETE", policy + "/s3?RevisionId=" + got["RevisionId"].get<std::string>()).status, 204);
  EXPECT_EQ(Send("DELETE", policy + "/s3").status, 404);
  EXPECT_EQ(Send("DELETE", policy + "/b").status, 204);
  EXPECT_EQ(Send("GET", policy).status, 404);
}

TEST_F(LambdaSettingsTest, Tags) {
  const std::string tags = "/2017-03-31/tags/" + http::PercentEncode(kArn);
  EXPECT_EQ(Send("POST", tags, R"({"Tags":{"a":"1","b c":"2"}})").status, 204);
  EXPECT_EQ(Ok("GET", tags), Json({{"Tags", {{"a", "1"}, {"b c", "2"}}}}));
  EXPECT_EQ(Send("DELETE", tags + "?tagKeys=a&tagKeys=b%20c").status, 204);
  EXPECT_EQ(Ok("GET", tags), Json({{"Tags", Json::object()}}));
  Json many;
  for (int i = 0; i < 51; ++i) many["Tags"][std::to_string(i)] = "";
  EXPECT_EQ(ErrorType(Send("POST", tags, many.dump())), "InvalidParameterValueException");
  EXPECT_EQ(Ok("GET", tags), Json({{"Tags", Json::object()}}));
  EXPECT_THAT(Send("GET", tags + "%3A1").body, HasSubstr("aliases and versions are not supported"));
}

TEST_F(LambdaSettingsTest, AccountSettings) {
  Ok("PUT", "/2017-10-31/functions/f/concurrency", {{"ReservedConcurrentExecutions", 10}});
  for (const char* path : {"/2016-08-19/account-settings", "/2016-08-19/account-settings/"}) {
    const auto settings = Ok("GET", path);
    EXPECT_EQ(settings["AccountLimit"]["ConcurrentExecutions"], 1000);
    EXPECT_EQ(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 990);
    EXPECT_EQ(settings["AccountUsage"], Json({{"TotalCodeSize", 6}, {"FunctionCount", 1}}));
  }
}

}  // namespace
}  // namespace snapfaas::gateway
