// Lambda's management operations on a real registry, with deployments that a test finishes.
#include "gateway/lambda_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/clock.h"
#include "gateway/lambda_api_for_tests.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

class LambdaApiTest : public LambdaApiFixture {};

// --- Functions ---

TEST_F(LambdaApiTest, CreateAnswersAPendingConfiguration) {
  auto request = NewFunction("thumbs");
  request["Description"] = "makes them small";
  request["Environment"] = {{"Variables", {{"SIZE", "128"}}}};
  request["SnapFaaS"] = {{"Isolation", "Reset"}};
  request["SnapStart"] = {{"ApplyOn", "PublishedVersions"}};
  request["Unknown"] = 1;
  const auto made = Ok("POST", "/2015-03-31/functions", request, 201);
  EXPECT_EQ(made["FunctionName"], "thumbs");
  EXPECT_EQ(made["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:thumbs");
  EXPECT_EQ(made["Runtime"], "python3.12");
  EXPECT_EQ(made["Handler"], "app.handler");
  EXPECT_EQ(made["Role"], kRole);
  EXPECT_EQ(made["Timeout"], 3);
  EXPECT_EQ(made["MemorySize"], 128);
  EXPECT_EQ(made["Version"], "$LATEST");
  EXPECT_EQ(made["CodeSize"], 3);
  EXPECT_EQ(made["CodeSha256"], "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
  EXPECT_EQ(made["State"], "Pending");
  EXPECT_EQ(made["StateReasonCode"], "Creating");
  EXPECT_FALSE(made.contains("LastUpdateStatus"));
  EXPECT_EQ(made["PackageType"], "Zip");
  EXPECT_EQ(made["Architectures"], Json({"x86_64"}));
  EXPECT_EQ(made["Environment"]["Variables"]["SIZE"], "128");
  EXPECT_EQ(made["SnapStart"], Json({{"ApplyOn", "PublishedVersions"}, {"OptimizationStatus", "Off"}}));
  EXPECT_EQ(made["SnapFaaS"], Json({{"Isolation", "Reset"}, {"Runtime", "python3"}}));
  EXPECT_THAT(made["LastModified"].get<std::string>(),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}\\+0000"));
  EXPECT_THAT(made["RevisionId"].get<std::string>(), SizeIs(36));
  EXPECT_THAT(deployments().started, ElementsAre("thumbs:$LATEST"));

  Finish("thumbs");
  const auto active = Ok("GET", "/2015-03-31/functions/thumbs/configuration");
  EXPECT_EQ(active["State"], "Active");
  EXPECT_EQ(active["LastUpdateStatus"], "Successful");
  EXPECT_FALSE(active.contains("StateReason"));
  EXPECT_EQ(active["SnapStart"]["OptimizationStatus"], "Off") << "its snapshot is still to be taken";
  deployments().with_snapshot.insert("thumbs:$LATEST");
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/thumbs/configuration")["SnapStart"]["OptimizationStatus"], "On");
}

TEST_F(LambdaApiTest, CreateRefusesWhatIsWrong) {
  const auto refused = [this](const char* member, const Json& value, const std::string& type,
                              const std::string& message) {
    auto request = NewFunction("f");
    if (value.is_discarded()) {
      request.erase(member);
    } else {
      request[member] = value;
    }
    const auto response = Send("POST", "/2015-03-31/functions", request.dump());
    EXPECT_EQ(ErrorType(response), type) << member << " " << response.body;
    EXPECT_THAT(response.body, HasSubstr(message)) << member;
  };
  const Json none(Json::value_t::discarded);
  refused("Role", none, "ValidationException", "Value null at 'role' failed to satisfy constraint");
  refused("Role", "root", "ValidationException", "Value 'root' at 'role'");
  refused("Code", nullptr, "ValidationException", "Value null at 'code'");
  refused("FunctionName", "a b", "ValidationException", "Value 'a b' at 'functionName'");
  refused("FunctionName", "f:1", "InvalidParameterValueException", "$LATEST only");
  refused("Handler", none, "InvalidParameterValueException", "Runtime and Handler are mandatory");
  refused("Handler", "a b", "ValidationException", "Value 'a b' at 'handler'");
  refused("Timeout", 0, "ValidationException", "greater than or equal to 1");
  refused("Timeout", 901, "ValidationException",
          "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value "
          "less than or equal to 900");
  refused("Timeout", "3", "InvalidRequestContentException", "Timeout must be a whole number");
  refused("Timeout", 1e30, "InvalidRequestContentException", "Timeout");
  refused("MemorySize", 64, "ValidationException", "Value '64' at 'memorySize'");
  refused("MemorySize", 18446744073709551615U, "ValidationException", "less than or equal to 10240");
  refused("MemorySize", 4096, "InvalidParameterValueException", "less than or equal to 3072");
  refused("Description", std::string(257, 'x'), "ValidationException", "length less than or equal to 256");
  refused("Architectures", {"arm64"}, "InvalidParameterValueException", "x86_64 only");
  refused("Layers", {"arn:aws:lambda:us-east-1:000000000000:layer:l:1"}, "InvalidParameterValueException", "layers");
  refused("PackageType", "Box", "ValidationException", "enum value set: [Zip, Image]");
  refused("SnapStart", {{"ApplyOn", "All"}}, "ValidationException", "Value 'All' at 'applyOn'");
  refused("SnapFaaS", {{"Isolation", "None"}}, "ValidationException", "Value 'None' at 'isolation'");
  refused("Environment", {{"Variables", {{"AWS_REGION", "x"}}}}, "InvalidParameterValueException",
          "Reserved keys used in this request: AWS_REGION");
  refused("Environment", {{"Variables", {{"1A", "x"}}}}, "ValidationException", "environment.variables");
  refused("Environment", {{"Variables", {{"AB", std::string(4097, 'x')}}}}, "InvalidParameterValueException", "4KB");
  refused("Environment", {{"Variables", {{"AB", 1}}}}, "InvalidRequestContentException", "Variables");
  refused("Tags", {{std::string(129, 'k'), ""}}, "InvalidParameterValueException", "tag's key");
  refused("Code", {{"S3Bucket", "b"}}, "InvalidParameterValueException", "S3");
  refused("Code", {{"ImageUri", "i"}}, "InvalidParameterValueException", "container images");
  refused("Code", Json::object(), "InvalidParameterValueException", "Please provide a source for function code.");
  refused("Code", {{"ZipFile", ""}}, "InvalidParameterValueException", "non-empty zip");
  refused("Code", {{"ZipFile", "!!!!"}}, "InvalidRequestContentException", "ZipFile");
  refused("Code", {{"ZipFile", EncodeBase64("bad")}}, "InvalidParameterValueException", "Could not unzip");
  EXPECT_THAT(deployments().started, IsEmpty());
  EXPECT_THAT(CodeFiles(), IsEmpty());
}

TEST_F(LambdaApiTest, RuntimesMustBeBuilt) {
  auto request = NewFunction("f");
  request["Runtime"] = "nodejs22.x";
  const auto missing = Send("POST", "/2015-03-31/functions", request.dump());
  EXPECT_EQ(missing.status, 400);
  EXPECT_EQ(ErrorType(missing), "InvalidParameterValueException");
  EXPECT_THAT(missing.body, HasSubstr("snapfaas runtime build nodejs"));
  EXPECT_THAT(missing.body, HasSubstr("python3, python3.11"));
  request["Runtime"] = "cobol85";
  EXPECT_THAT(Send("POST", "/2015-03-31/functions", request.dump()).body, HasSubstr("unknown"));
  request["Runtime"] = "python3";
  EXPECT_EQ(Ok("POST", "/2015-03-31/functions", request, 201)["Runtime"], "python3");
  const auto update = Send("PUT", "/2015-03-31/functions/f/configuration", R"({"Runtime":"nodejs22.x"})");
  EXPECT_THAT(update.body, HasSubstr("snapfaas runtime build nodejs"));
}

TEST_F(LambdaApiTest, BodiesMustBeObjects) {
  for (const char* body : {"{", "[]", "3", "\"x\"", "{\"a\":}"}) {
    const auto response = Send("POST", "/2015-03-31/functions", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(ErrorType(response), "InvalidRequestContentException") << body;
    EXPECT_THAT(response.body, HasSubstr("Could not parse request body into json")) << body;
  }
}

TEST_F(LambdaApiTest, BodiesHaveALimit) {
  const auto response = Send("POST", "/2015-03-31/functions", std::string(69905068, ' '));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(ErrorType(response), "RequestTooLargeException");
}

TEST_F(LambdaApiTest, ANameIsTakenOnce) {
  Make("f");
  const auto again = Send("POST", "/2015-03-31/functions", NewFunction("f").dump());
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(Json::parse(again.body), Json({{"Type", "User"}, {"message", "Function already exist: f"}}));
}

TEST_F(LambdaApiTest, ADryRunMakesNothing) {
  auto request = NewFunction("f");
  request["DryRun"] = true;
  EXPECT_EQ(Ok("POST", "/2015-03-31/functions", request, 201)["FunctionName"], "f");
  EXPECT_EQ(Send("GET", "/2015-03-31/functions/f").status, 404);
  EXPECT_THAT(CodeFiles(), IsEmpty());
}

TEST_F(LambdaApiTest, CreateMayPublish) {
  auto request = NewFunction("f");
  request["Publish"] = true;
  const auto made = Ok("POST", "/2015-03-31/functions", request, 201);
  EXPECT_EQ(made["Version"], "1");
  EXPECT_EQ(made["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:1");
  EXPECT_THAT(deployments().started, ElementsAre("f:$LATEST", "f:1"));
}

TEST_F(LambdaApiTest, GetTakesEveryFormOfTheName) {
  Make("f");
  const std::string arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
  for (const std::string& name : {std::string("f"), std::string("f/"), http::PercentEncode(arn), arn,
                                  std::string("000000000000:function:f"), std::string("function:f")}) {
    const auto got = Ok("GET", "/2015-03-31/functions/" + name);
    EXPECT_EQ(got["Configuration"]["FunctionArn"], arn) << name;
  }
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f:$LATEST")["Configuration"]["FunctionArn"], arn + ":$LATEST");
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f?Qualifier=%24LATEST")["Configuration"]["FunctionArn"], arn + ":$LATEST");
  EXPECT_EQ(Send("GET", "/2015-03-31/functions/f:1?Qualifier=2").status, 400);
}

TEST_F(LambdaApiTest, GetTellsWhereTheCodeIs) {
  auto request = NewFunction("f");
  request["Tags"] = {{"team", "a"}};
  Ok("POST", "/2015-03-31/functions", request, 201);
  Ok("PUT", "/2017-10-31/functions/f/concurrency", {{"ReservedConcurrentExecutions", 5}});
  const auto got = Ok("GET", "/2015-03-31/functions/f");
  EXPECT_EQ(got["Tags"], Json({{"team", "a"}}));
  EXPECT_EQ(got["Concurrency"]["ReservedConcurrentExecutions"], 5);
  const std::string location = got["Code"]["Location"];
  EXPECT_EQ(location, "http://node/2015-03-31/functions/f/code?Qualifier=%24LATEST");
  const auto zip = Send("GET", location.substr(std::string("http://node").size()));
  EXPECT_EQ(zip.status, 200);
  EXPECT_EQ(zip.body, "abc");
  EXPECT_EQ(FindField(zip.headers, "content-type"), "application/zip");
}

TEST_F(LambdaApiTest, WhoHasTheLinkMayGetTheCodeForAWhile) {
  const http::Credentials credentials{"AKIDEXAMPLE", "secret"};
  Open(credentials);
  Ok("POST", "/2015-03-31/functions", NewFunction("f"), 201);
  const std::string location = Ok("GET", "/2015-03-31/functions/f")["Code"]["Location"];
  const std::string target = location.substr(std::string("http://node").size());
  const size_t question = target.find('?');
  const http::Fields headers = {{"Host", "node"}};
  const http::SignableRequest request{"GET", std::string_view(target).substr(0, question),
                                      std::string_view(target).substr(question + 1), headers, ""};
  const int64_t now = RealtimeNanos() / 1'000'000'000;
  EXPECT_FALSE(http::VerifyRequest(credentials, "lambda", now, request));
  EXPECT_TRUE(http::VerifyRequest(credentials, "lambda", now + 660, request));
  EXPECT_EQ(Send("GET", target).body, "abc");
}

TEST_F(LambdaApiTest, WhatIsNotThere) {
  const auto missing = Send("GET", "/2015-03-31/functions/f");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(ErrorType(missing), "ResourceNotFoundException");
  EXPECT_EQ(
      Json::parse(missing.body),
      Json({{"Type", "User"}, {"Message", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f"}}));
  for (const auto& [method, path] :
       std::vector<std::pair<std::string, std::string>>{{"DELETE", "/2015-03-31/functions/f"},
                                                        {"GET", "/2015-03-31/functions/f/configuration"},
                                                        {"PUT", "/2015-03-31/functions/f/configuration"},
                                                        {"GET", "/2015-03-31/functions/f/versions"},
                                                        {"POST", "/2015-03-31/functions/f/versions"},
                                                        {"GET", "/2015-03-31/functions/f/aliases"},
                                                        {"GET", "/2015-03-31/functions/f/aliases/a"},
                                                        {"DELETE", "/2015-03-31/functions/f/aliases/a"},
                                                        {"GET", "/2015-03-31/functions/f/policy"},
                                                        {"DELETE", "/2015-03-31/functions/f/policy/a"},
                                                        {"GET", "/2019-09-30/functions/f/concurrency"},
                                                        {"DELETE", "/2017-10-31/functions/f/concurrency"},
                                                        {"GET", "/2019-09-25/functions/f/event-invoke-config"},
                                                        {"GET", "/2019-09-25/functions/f/event-invoke-config/list"},
                                                        {"GET", "/2021-10-31/functions/f/url"},
                                                        {"GET", "/2021-10-31/functions/f/urls"},
                                                        {"GET", "/2017-03-31/tags/f"}}) {
    const auto response = Send(method, path);
    EXPECT_EQ(response.status, 404) << method << " " << path << " " << response.body;
    EXPECT_EQ(ErrorType(response), "ResourceNotFoundException") << path;
  }
}

TEST_F(LambdaApiTest, UpdatingCode) {
  const auto made = Make("f");
  const auto updated = Ok("PUT", "/2015-03-31/functions/f/code", {{"ZipFile", EncodeBase64("other")}});
  EXPECT_EQ(updated["LastUpdateStatus"], "InProgress");
  EXPECT_EQ(updated["LastUpdateStatusReasonCode"], "Creating");
  EXPECT_EQ(updated["State"], "Active");
  EXPECT_NE(updated["RevisionId"], made["RevisionId"]);
  EXPECT_NE(updated["CodeSha256"], made["CodeSha256"]);
  EXPECT_THAT(CodeFiles(), SizeIs(1));
  const auto busy = Send("PUT", "/2015-03-31/functions/f/configuration", R"({"Timeout":5})");
  EXPECT_EQ(busy.status, 409);
  EXPECT_EQ(ErrorType(busy), "ResourceConflictException");
  EXPECT_THAT(busy.body, HasSubstr("An update is in progress for resource"));
  Finish("f");
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f/configuration")["LastUpdateStatus"], "Successful");
}

TEST_F(LambdaApiTest, UpdatingCodeDryAndPublishing) {
  const auto made = Make("f");
  const Json code = {{"ZipFile", EncodeBase64("other")}};
  auto dry = code;
  dry["DryRun"] = true;
  EXPECT_NE(Ok("PUT", "/2015-03-31/functions/f/code", dry)["CodeSha256"], made["CodeSha256"]);
  EXPECT_EQ(Ok("GET", "/2015-03-31/functions/f/configuration")["CodeSha256"], made["CodeSha256"]);
  auto publish = code;
  publish["Publish"] = true;
  EXPECT_EQ(Ok("PUT", "/2015-03-31/functions/f/code", publish)["Version"], "1");
  EXPECT_EQ(Send("PUT", "/2015-03-31/functions/f:1/code", code.dump()).status, 400);
}

TEST_F(LambdaApiTest, UpdatingConfigurationKeepsWhatItDoesNotName) {
  auto request = NewFunction("f");
  request["Environment"] = {{"Variables", {{"AB", "1"}}}};
  request["Description"] = "d";
  Ok("POST", "/2015-03-31/functions", request, 201);
  Finish("f");
  const auto updated = Ok("PUT", "/2015-03-31/functions/f/configuration",
                          {{"Timeout", 7}, {"MemorySize", 256}, {"SnapFaaS", {{"Isolation", "Reset"}}}});
  EXPECT_EQ(updated["Timeout"], 7);
  EXPECT_EQ(updated["MemorySize"], 256);
  EXPECT_EQ(updated["Description"], "d");
  EXPECT_EQ(updated["Environment"]["Variables"]["AB"], "1");
  EXPECT_EQ(updated["SnapFaaS"]["Isolation"], "Reset");
  EXPECT_EQ(updated["LastUpdateStatus"], "InProgress");
  Finish("f");
  const auto cleared = Ok("PUT", "/2015-03-31/functions/f/configuration",
                          {{"Environment", {{"Variables", Json::object()}}}, {"Description", ""}});
  EXPECT_FALSE(cleared.contains("Environment"));
  EXPECT_EQ(cleared["Description"], "");
}

TEST_F(LambdaApiTest, AnotherRevisionIsAPreconditionThatFailed) {
  const auto made = Make("f");
  const auto stale = Send("PUT", "/2015-03-31/functions/f/configuration", R"({"Timeout":5,"RevisionId":"stale"})");
  EXPECT_EQ(stale.status, 412);
  EXPECT_EQ(ErrorType(stale), "PreconditionFailedException");
  Ok("PUT", "/2015-03-31/functions/f/configuration", {{"Timeout", 5}, {"RevisionId", made["RevisionId"]}});
}

TEST_F(LambdaApiTest, AFailedFunctionSaysWhy) {
  Ok("POST", "/2015-03-31/functions", NewFunction("f"), 201);
  const auto pending = registry().PendingDeployments();
  ASSERT_TRUE(
      registry().FailDeployment("f", "$LATEST", pending->front().deployment, "FunctionError", "no such module"));
  const auto failed = Ok("GET", "/2015-03-31/functions/f/configuration");
  EXPECT_EQ(failed["State"], "Failed");
  EXPECT_EQ(failed["StateReason"], "no such module");
  EXPECT_EQ(failed["StateReasonCode"], "FunctionError");
}

TEST_F(LambdaApiTest, Deleting) {
  Make("f");
  Ok("POST", "/2015-03-31/functions/f/versions", Json::object(), 201);
  EXPECT_EQ(Send("DELETE", "/2015-03-31/functions/f?Qualifier=%24LATEST").status, 400);
  EXPECT_THAT(Send("DELETE", "/2015-03-31/functions/f?Qualifier=live").body, HasSubstr("Deletion of aliases"));
  Ok("POST", "/2015-03-31/functions/f/aliases", {{"Name", "live"}, {"FunctionVersion", "1"}}, 201);
  const auto referred = Send("DELETE", "/2015-03-31/functions/f?Qualifier=1");
  EXPECT_EQ(referred.status, 409);
  EXPECT_THAT(referred.body, HasSubstr("[live]"));
  const auto gone = Send("DELETE", "/2015-03-31/functions/f");
  EXPECT_EQ(gone.status, 204);
  EXPECT_EQ(gone.body, "");
  EXPECT_THAT(deployments().removed, ElementsAre("f:$LATEST", "f:1"));
  EXPECT_EQ(Send("GET", "/2015-03-31/functions/f").status, 404);
  EXPECT_THAT(CodeFiles(), IsEmpty());
}

TEST_F(LambdaApiTest, ListsByPages) {
  for (const char* name : {"b", "a", "c"}) Make(name);
  Ok("POST", "/2015-03-31/functions/a/versions", Json::object(), 201);
  std::vector<std::string> names;
  std::string marker;
  do {
    const auto page = Ok("GET", "/2015-03-31/functions/?MaxItems=2&Marker=" + http::PercentEncode(marker));
    for (const auto& one : page["Functions"]) names.push_back(one["FunctionArn"]);
    marker = page.value("NextMarker", "");
  } while (!marker.empty());
  EXPECT_THAT(names, ElementsAre(HasSubstr("function:a"), HasSubstr("function:b"), HasSubstr("function:c")));
  const auto all = Ok("GET", "/2015-03-31/functions?FunctionVersion=ALL");
  ASSERT_THAT(all["Functions"], SizeIs(4));
  EXPECT_EQ(all["Functions"][1]["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:a:1");
  EXPECT_FALSE(all.contains("NextMarker"));
  EXPECT_EQ(ErrorType(Send("GET", "/2015-03-31/functions?MaxItems=0")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("GET", "/2015-03-31/functions?MaxItems=10001")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("GET", "/2015-03-31/functions?MaxItems=x")), "ValidationException");
  EXPECT_EQ(ErrorType(Send("GET", "/2015-03-31/functions?Marker=%21")), "InvalidParameterValueException");
  EXPECT_EQ(ErrorType(Send("GET", "/2015-03-31/functions?FunctionVersion=SOME")), "ValidationException");
}

TEST_F(LambdaApiTest, OtherPathsAreNotItsOwn) {
  for (const char* path : {"/", "/healthz", "/2015-03-31/functions/f/invocations", "/2015-03-31/layers",
                           "/2014-11-13/functions/f/invoke-async/", "/2015-03-31/functions/f/code/x", "/%zz"}) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    EXPECT_FALSE(api().Handle(request)) << path;
  }
  EXPECT_EQ(Send("PATCH", "/2015-03-31/functions/f").status, 404);
}

TEST_F(LambdaApiTest, EveryAnswerHasARequestId) {
  EXPECT_TRUE(FindField(Send("GET", "/2015-03-31/functions").headers, "x-amzn-RequestId"));
  EXPECT_TRUE(FindField(Send("GET", "/2015-03-31/functions/f").headers, "x-amzn-RequestId"));
}

}  // namespace
}  // namespace snapfaas::gateway
