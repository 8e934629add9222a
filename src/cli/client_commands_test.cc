// The client and its commands against a node that is played here, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/base64.h"
#include "base/clock.h"
#include "base/scratch_folder_for_tests.h"
#include "cli/context.h"
#include "cli/deploy_command.h"
#include "cli/function_commands.h"
#include "cli/http_client.h"
#include "cli/http_node_for_tests.h"
#include "cli/invoke_command.h"
#include "cli/node_client.h"
#include "cli/node_commands.h"
#include "cli/recipe_for_tests.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Answer = HttpNodeForTests::Answer;
using Request = HttpNodeForTests::Request;

// Answers each request by the script, one connection after the other.
class FakeNode {
 public:
  using Script = std::function<Answer(const Request& request)>;

  explicit FakeNode(Script script)
      : script_(std::move(script)),
        acceptor_(context_, {asio::ip::make_address("127.0.0.1"), 0}),
        thread_([this] { Serve(); }) {}
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;
  ~FakeNode() {
    stopping_ = true;
    asio::ip::tcp::socket waker(context_);
    boost::system::error_code ignored;
    waker.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }

  // "GET /path", in the order they came.
  std::vector<std::string> Seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void Serve() {
    for (;;) {
      asio::ip::tcp::socket socket(context_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (stopping_) return;
      if (!error) ServeOne(socket);
    }
  }

  void ServeOne(asio::ip::tcp::socket& socket) {
    beast::flat_buffer buffer;
    beast::http::request_parser<beast::http::string_body> parser;
    parser.body_limit(uint64_t{64} << 20);
    boost::system::error_code error;
    beast::http::read(socket, buffer, parser, error);
    if (error) return;
    const Request& request = parser.get();
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(std::string(request.method_string()) + " " + std::string(request.target()));
    }
    Answer answer = script_(request);
    if (answer.hang_up) return;
    beast::http::response<beast::http::string_body> response;
    response.result(static_cast<unsigned>(answer.status));
    for (const auto& [name, value] : answer.headers) response.set(name, value);
    response.body() = std::move(answer.body);
    response.prepare_payload();
    beast::http::write(socket, response, error);
  }

  Script script_;
  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> seen_;
  std::thread thread_;
};

// A port that nobody listens on.
std::string NobodysUrl() {
  asio::io_context context;
  const asio::ip::tcp::acceptor acceptor(context, {asio::ip::make_address("127.0.0.1"), 0});
  return "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
}

HttpClient ClientOf(const std::string& url, std::optional<http::Credentials> credentials = std::nullopt) {
  auto endpoint = ParseEndpoint(url);
  EXPECT_TRUE(endpoint);
  return {*endpoint, std::move(credentials), http::SigningScope()};
}

TEST(HttpClient, EndpointsAreParsed) {
  EXPECT_EQ(ParseEndpoint("http://127.0.0.1:8480")->port, 8480);
  EXPECT_EQ(ParseEndpoint("http://node.example/")->host, "node.example");
  EXPECT_EQ(ParseEndpoint("http://node.example/")->port, 80);
  EXPECT_EQ(ParseEndpoint("http://[::1]:8480")->host, "::1");
  EXPECT_EQ(ParseEndpoint("http://[::1]:8480")->port, 8480);
  for (const char* url : {"", "127.0.0.1:8480", "https://host", "http://", "http://:80", "http://host:0",
                          "http://host:99999", "http://host:x", "http://host/path", "http://[::1", "http://a b"}) {
    const auto endpoint = ParseEndpoint(url);
    ASSERT_FALSE(endpoint) << url;
    EXPECT_EQ(endpoint.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(HttpClient, BodiesAndFieldsGoBothWays) {
  const FakeNode node([](const Request& request) {
    return Answer{201, request.body() + "!", {{"X-Got", std::string(request["X-Given"])}}};
  });
  const std::string large(size_t{6} << 20, 'x');
  const auto reply =
      ClientOf(node.url()).Send({.method = "PUT", .target = "/a?b=c", .headers = {{"X-Given", "v"}}, .body = large});
  ASSERT_TRUE(reply) << reply.error().Message();
  EXPECT_EQ(reply->status, 201);
  EXPECT_EQ(reply->Header("x-got"), "v");
  EXPECT_EQ(reply->Header("none"), "");
  EXPECT_TRUE(reply->body == large + "!");
  EXPECT_THAT(node.Seen(), ElementsAre("PUT /a?b=c"));
}

TEST(HttpClient, NobodyThereSaysHowToStartOne) {
  const std::string url = NobodysUrl();
  const auto reply = ClientOf(url).Send({.target = "/"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(reply.error().Message(), HasSubstr("no node answers at " + url + ": start one with `snapfaas up`"));
}

TEST(HttpClient, NodeThatHangsUpIsAnError) {
  const FakeNode node([](const Request& /*request*/) { return Answer{.hang_up = true}; });
  const auto reply = ClientOf(node.url()).Send({.target = "/"});
  ASSERT_FALSE(reply);
  EXPECT_THAT(reply.error().Message(), HasSubstr("has closed the connection"));
}

TEST(HttpClient, NodeThatDoesNotAnswerIsATimeout) {
  std::promise<void> released;
  const auto wait = released.get_future().share();
  const FakeNode node([wait](const Request& /*request*/) {
    wait.wait();
    return Answer();
  });
  const auto reply = ClientOf(node.url()).Send({.target = "/", .timeout_seconds = 0.05});
  released.set_value();
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::kTimedOut);
}

TEST(HttpClient, RequestsAreSignedWithTheCredentials) {
  const http::Credentials credentials{"AKIDEXAMPLE", "secret"};
  const auto verify = [credentials](const Request& request) {
    http::Fields fields;
    for (const auto& field : request) fields.emplace_back(field.name_string(), field.value());
    const std::string target(request.target());
    const size_t question = target.find('?');
    const auto refused = http::VerifyRequest(credentials, "lambda", RealtimeNanos() / 1'000'000'000,
                                             {request.method_string(), std::string_view(target).substr(0, question),
                                              std::string_view(target).substr(question + 1), fields, request.body()});
    return refused ? Answer{403, refused->message} : Answer{200, "fine"};
  };
  const FakeNode node(verify);
  const HttpCall call{.method = "POST", .target = "/f%2F/x?Qualifier=%24LATEST", .body = "{}"};
  EXPECT_EQ(ClientOf(node.url(), credentials).Send(call)->body, "fine");
  EXPECT_EQ(ClientOf(node.url(), http::Credentials{"AKIDEXAMPLE", "wrong"}).Send(call)->status, 403);
  EXPECT_EQ(ClientOf(node.url()).Send(call)->status, 403);
}

// --- The commands ----------------------------------------------------------------------------------------------------

struct Ran {
  int exit_code = -1;
  std::string out;
  std::string err;
};

class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SNAPFAAS_ENDPOINT"}) ::unsetenv(name);
  }

  // As the command line does, against the node.
  Ran Run(std::vector<std::string> arguments) {
    if (node_) arguments.insert(arguments.end(), {"--endpoint", node_->url()});
    CLI::App app("test", "snapfaas");
    Ran ran;
    AddDeployCommand(
        app,
        [this] {
          return Result<Context>(Context{{}, share_dir_, {}});
        },
        ran.exit_code);
    AddInvokeCommand(app, ran.exit_code);
    AddFunctionCommands(app, ran.exit_code);
    AddNodeCommands(app, ran.exit_code);
    std::reverse(arguments.begin(), arguments.end());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      ran.exit_code = 2;
    }
    ran.out = ::testing::internal::GetCapturedStdout();
    ran.err = ::testing::internal::GetCapturedStderr();
    return ran;
  }

  // The node gives these answers to "METHOD /target"; anything else is 404.
  void Answers(std::map<std::string, Answer> answers) {
    node_.emplace([this, answers = std::move(answers)](const Request& request) {
      {
        const std::lock_guard lock(mutex_);
        last_ = request;
      }
      const auto found = answers.find(std::string(request.method_string()) + " " + std::string(request.target()));
      if (found != answers.end()) return found->second;
      return Answer{404, R"({"Type":"User","Message":"Function not found: f"})"};
    });
  }

  Request Last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  std::mutex mutex_;
  Request last_;
  std::optional<FakeNode> node_;
  std::filesystem::path share_dir_;  // with the recipes; empty: there are none
};

constexpr char kInvocations[] = "POST /2015-03-31/functions/f/invocations";

TEST_F(CommandTest, EndpointMayComeFromTheEnvironment) {
  const std::string url = NobodysUrl();
  ::setenv("SNAPFAAS_ENDPOINT", url.c_str(), 1);
  const Ran ran = Run({"ls"});
  EXPECT_EQ(ran.exit_code, kExitFailure);
  EXPECT_THAT(ran.err, HasSubstr("no node answers at " + url));
  ::setenv("SNAPFAAS_ENDPOINT", "nonsense", 1);
  EXPECT_EQ(Run({"ls"}).exit_code, kExitUsage);
}

TEST_F(CommandTest, LsGoesThroughAllPages) {
  Answers({{"GET /2015-03-31/functions/",
            {.body = R"({"Functions":[{"FunctionName":"b","Runtime":"python3.11","Handler":"app.handler",)"
                     R"("MemorySize":128,"Timeout":3,"CodeSize":2048,"LastModified":"2026-11-25T23:00:00.000+0000"}],)"
                     R"("NextMarker":"m 1"})"}},
           {"GET /2015-03-31/functions/?Marker=m%201", {.body = R"({"Functions":[{"FunctionName":"a"}]})"}}});
  const Ran table = Run({"ls"});
  EXPECT_EQ(table.exit_code, kExitOk) << table.err;
  EXPECT_EQ(table.out,
            "NAME  RUNTIME     HANDLER      MEMORY  TIMEOUT   CODE  MODIFIED (UTC)\n"
            "a                                0 MB      0 s    0 B\n"
            "b     python3.11  app.handler  128 MB      3 s  2 KiB  2026-11-25T23:00:00\n");
  EXPECT_EQ(Json::parse(Run({"ls", "--json"}).out, nullptr, false).size(), 2u);
}

TEST_F(CommandTest, RefusalsOfTheNodeAreErrors) {
  Answers({{"DELETE /2015-03-31/functions/locked", {403, R"({"message":"no signature"})"}},
           {"DELETE /2015-03-31/functions/broken", {500, "oops"}},
           {"DELETE /2015-03-31/functions/bad", {400, R"({"message":"bad name"})"}},
           {"DELETE /2015-03-31/functions/there", {204}}});
  EXPECT_EQ(Run({"rm", "there"}).exit_code, kExitOk);
  const Ran missing = Run({"rm", "f"});
  EXPECT_EQ(missing.exit_code, kExitFailure);
  EXPECT_EQ(missing.err, "snapfaas: Function not found: f\n");
  EXPECT_THAT(Run({"rm", "locked"}).err, AllOf(HasSubstr("no signature"), HasSubstr("AWS_ACCESS_KEY_ID")));
  EXPECT_THAT(Run({"rm", "broken"}).err, HasSubstr("status 500"));
  EXPECT_EQ(Run({"rm", "bad"}).exit_code, kExitUsage);
  EXPECT_EQ(Run({"rm"}).exit_code, kExitUsage);
}

TEST_F(CommandTest, InvokePrintsTheAnswer) {
  Answers({{kInvocations, {.body = R"({"n":2})"}}});
  const Ran ran = Run({"invoke", "f", "-d", R"({"n":1})"});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out, "{\"n\":2}\n");
  EXPECT_EQ(Last().body(), R"({"n":1})");
  EXPECT_EQ(Last()["X-Amz-Invocation-Type"], "RequestResponse");
  EXPECT_EQ(Run({"invoke", "f"}).exit_code, kExitOk);
  EXPECT_EQ(Last().body(), "{}");
}

TEST_F(CommandTest, InvokeTakesTheEventFromAFile) {
  auto folder = images::TemporaryFolder::Create(::testing::TempDir());
  ASSERT_TRUE(folder);
  ASSERT_TRUE(images::WriteWholeFile(folder->path() / "event.json", "[1, 2]"));
  Answers({{kInvocations, {.body = "null"}}});
  EXPECT_EQ(Run({"invoke", "f", "-d", "@" + (folder->path() / "event.json").string()}).exit_code, kExitOk);
  EXPECT_EQ(Last().body(), "[1, 2]");
  EXPECT_EQ(Run({"invoke", "f", "-d", "@/nowhere"}).exit_code, kExitFailure);
  const Ran broken = Run({"invoke", "f", "-d", "{"});
  EXPECT_EQ(broken.exit_code, kExitUsage);
  EXPECT_THAT(broken.err, HasSubstr("not JSON"));
}

TEST_F(CommandTest, InvokeOfAFunctionThatFailsIsExitCodeThree) {
  Answers({{kInvocations, {.body = R"({"errorType":"E"})", .headers = {{"X-Amz-Function-Error", "Unhandled"}}}}});
  const Ran ran = Run({"invoke", "f"});
  EXPECT_EQ(ran.exit_code, kExitFunctionFailed);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "{\"errorType\":\"E\"}\n");
  const Ran as_json = Run({"invoke", "f", "--json"});
  EXPECT_EQ(as_json.exit_code, kExitFunctionFailed);
  EXPECT_EQ(Json::parse(as_json.out, nullptr, false)["payload"]["errorType"], "E");
}

TEST_F(CommandTest, InvokeTellsTimingsAndLog) {
  Answers({{"POST /2015-03-31/functions/f/invocations?Qualifier=%24LATEST",
            {.body = "1",
             .headers = {{"X-SnapFaaS-Start", "restored"},
                         {"X-SnapFaaS-Snapshot", "function"},
                         {"X-SnapFaaS-Restore-Ms", "3.25"},
                         {"X-SnapFaaS-Total-Ms", "9.5"},
                         {"X-Amz-Executed-Version", "$LATEST"},
                         {"X-Amz-Log-Result", EncodeBase64("START\nEND\n")}}}}});
  const std::vector<std::string> arguments = {"invoke", "f", "--qualifier", "$LATEST", "--timings", "--log"};
  const Ran ran = Run(arguments);
  EXPECT_EQ(ran.out, "1\n");
  EXPECT_EQ(ran.err, "START\nEND\nrestored, function snapshot: restore 3.25 ms total 9.50 ms\n");
  EXPECT_EQ(Last()["X-Amz-Log-Type"], "Tail");
  auto with_json = arguments;
  with_json.emplace_back("--json");
  const auto all = Json::parse(Run(with_json).out, nullptr, false);
  EXPECT_EQ(all["timings"]["restore_ms"], 3.25);
  EXPECT_EQ(all["executed_version"], "$LATEST");
  EXPECT_EQ(all["log"], "START\nEND\n");
}

TEST_F(CommandTest, AsynchronousInvokeIsAccepted) {
  Answers({{kInvocations, {.status = 202, .headers = {{"x-amzn-RequestId", "r-1"}}}}});
  const Ran ran = Run({"invoke", "f", "--async"});
  EXPECT_EQ(ran.exit_code, kExitOk);
  EXPECT_EQ(ran.out, "accepted as r-1\n");
  EXPECT_EQ(Last()["X-Amz-Invocation-Type"], "Event");
}

TEST_F(CommandTest, LogsArePrinted) {
  Answers({{"GET /v1/functions/f/log?max=65536", {.body = R"({"text":"one\n","next":4})"}}});
  EXPECT_EQ(Run({"logs", "f"}).out, "one\n");
  EXPECT_EQ(Run({"logs", "f", "--json"}).out, "{\"next\":4,\"text\":\"one\\n\"}\n");
}

TEST_F(CommandTest, LogsAreFollowedFromWhereTheyEnded) {
  Answers({{"GET /v1/functions/f/log?max=65536", {.body = R"({"text":"one\n","next":4})"}},
           {"GET /v1/functions/f/log?max=65536&from=4", {.body = R"({"text":"two\n","next":8})"}}});
  const Ran ran = Run({"logs", "f", "-f"});
  EXPECT_EQ(ran.exit_code, kExitFailure) << "it ends when the function is gone";
  EXPECT_EQ(ran.out, "one\ntwo\n");
}

TEST_F(CommandTest, PsAndTopShowMicroVms) {
  Answers({{"GET /v1/vms",
            {.body = R"({"vms":[)"
                     R"({"id":1,"pid":71,"function":"f","version":"$LATEST","state":"busy","memory_mib":128,"vcpus":1,)"
                     R"("age_seconds":61.2,"state_seconds":1,"requests":5},)"
                     R"({"id":2,"pid":72,"function":"f","version":"1","state":"idle","memory_mib":256,"vcpus":2,)"
                     R"("age_seconds":7200,"state_seconds":3,"requests":10}]})"}}});
  EXPECT_EQ(Run({"ps"}).out,
            "VM  PID  FUNCTION  VERSION  STATE  FOR   MEMORY  VCPUS  REQUESTS  AGE\n"
            " 1   71  f         $LATEST  busy    1s  128 MiB      1         5  61s\n"
            " 2   72  f         1        idle    3s  256 MiB      2        10   2h\n");
  EXPECT_EQ(Run({"top", "--once"}).out,
            "FUNCTION  VMS  BUSY  IDLE   MEMORY  REQUESTS  PER SECOND\n"
            "f           2     1     1  384 MiB        15           -\n"
            "(all)       2     1     1  384 MiB        15           -\n");
  EXPECT_EQ(Json::parse(Run({"top", "--once", "--json"}).out, nullptr, false)[0]["busy"], 1);
}

TEST_F(CommandTest, SnapshotsAreListed) {
  Answers({{"GET /v1/snapshots",
            {.body = R"({"snapshots":[{"runtime":"python3","function":"","memory_mib":128,"vcpus":1,)"
                     R"("disk_bytes":33554432,"is_usable":true,"problem":"","last_use_unix_ms":0}]})"}}});
  EXPECT_EQ(Run({"snapshots"}).out,
            "RUNTIME  IMAGE    MEMORY  VCPUS      DISK  USED  STATE\n"
            "python3  (base)  128 MiB      1  32.0 MiB     -  usable\n");
}

TEST_F(CommandTest, WhatIsNoNodeIsNamed) {
  Answers({{"GET /v1/vms", {.body = "<html>"}}, {"GET /v1/snapshots", {.body = "{}"}}});
  EXPECT_THAT(Run({"ps"}).err, HasSubstr("is no SnapFaaS node"));
  EXPECT_THAT(Run({"snapshots"}).err, HasSubstr("sent no list of snapshots"));
}

// A node with at most one function, which takes one question more to be ready.
class DeployTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    auto folder = images::TemporaryFolder::Create(::testing::TempDir());
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
    share_.emplace();
    share_dir_ = share_->path();
    PutRecipe(share_dir_);
    ASSERT_TRUE(images::WriteWholeFile(folder_->path() / "app.py", "def handler(e, c): pass\n"));
    node_.emplace([this](const Request& request) { return Handle(request); });
  }

  Answer Handle(const Request& request) {
    const std::string method(request.method_string());
    const Json body = Json::parse(request.body(), nullptr, false);
    if (method == "GET") {
      if (function_.is_null()) return {404, R"({"Message":"none"})"};
      const std::string now = function_.dump();
      if (asked_++ > 0) {
        function_["State"] = end_state_;
        function_["LastUpdateStatus"] = "Successful";
      }
      return {200, now};
    }
    asked_ = 0;
    if (method == "POST") {
      created_ = body;
      function_ = body;
      function_["State"] = "Pending";
    } else {
      updates_.push_back(body);
      function_.update(body);
      function_["LastUpdateStatus"] = "InProgress";
    }
    if (body.contains("Code")) function_["CodeSha256"] = sha_;
    return {method == "POST" ? 201 : 200, function_.dump()};
  }

  Ran Deploy(std::vector<std::string> options = {"--runtime", "python3"}) {
    options.insert(options.begin(), {"deploy", "f", folder_->path().string()});
    return Run(std::move(options));
  }

  std::optional<images::TemporaryFolder> folder_;
  std::optional<ScratchFolder> share_;
  Json function_;
  Json created_;
  std::vector<Json> updates_;
  std::string end_state_ = "Active";
  std::string sha_ = "another";
  int asked_ = 0;
};

TEST_F(DeployTest, NewFunctionIsCreatedAndWaitedFor) {
  const Ran ran = Deploy({"--runtime", "python3", "--memory", "256", "--timeout", "5", "--env", "A=1", "--env", "B=x=y",
                          "--isolation", "reset"});
  EXPECT_EQ(ran.exit_code, kExitOk) << ran.err;
  EXPECT_EQ(ran.out, "f is deployed: python3 with 256 MB, app.handler in 5 s at most\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("the handler is app.handler"), HasSubstr("is making f ready")));
  const auto zip = DecodeBase64(created_["Code"]["ZipFile"].get<std::string>());
  ASSERT_TRUE(zip);
  EXPECT_TRUE(zip->starts_with("PK"));
  created_.erase("Code");
  created_.erase("Role");
  EXPECT_EQ(created_, Json({{"FunctionName", "f"},
                            {"Runtime", "python3"},
                            {"Handler", "app.handler"},
                            {"MemorySize", 256},
                            {"Timeout", 5},
                            {"Environment", {{"Variables", {{"A", "1"}, {"B", "x=y"}}}}},
                            {"SnapFaaS", {{"Isolation", "Reset"}}},
                            {"SnapStart", {{"ApplyOn", "PublishedVersions"}}}}));
}

TEST_F(DeployTest, SecondTimeUpdatesOnlyWhatDiffers) {
  ASSERT_EQ(Deploy({"--runtime", "python3", "--env", "A=1"}).exit_code, kExitOk);
  const Ran code = Deploy({"--env", "A=1"});
  EXPECT_EQ(code.exit_code, kExitOk) << code.err;
  EXPECT_THAT(code.out, HasSubstr("f is updated"));
  ASSERT_EQ(updates_.size(), 1u) << "the code alone";
  EXPECT_TRUE(updates_[0].contains("ZipFile"));
  EXPECT_EQ(Deploy({"--no-snapshot", "--memory", "512"}).exit_code, kExitOk);
  ASSERT_EQ(updates_.size(), 3u);
  EXPECT_EQ(updates_[2], Json({{"MemorySize", 512}, {"SnapStart", {{"ApplyOn", "None"}}}}));
}

TEST_F(DeployTest, CodeThatIsThereIsNotSentAgain) {
  ASSERT_EQ(Deploy().exit_code, kExitOk);
  const auto zip = DecodeBase64(created_["Code"]["ZipFile"].get<std::string>());
  // 64 hexadecimal digits, two for each byte.
  const std::string hex = http::Sha256Hex(*zip);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  function_["CodeSha256"] = EncodeBase64(bytes);
  EXPECT_EQ(Deploy({"--memory", "512"}).exit_code, kExitOk);
  EXPECT_THAT(updates_, ElementsAre(Json({{"MemorySize", 512}})));
  ASSERT_TRUE(images::WriteWholeFile(folder_->path() / "app.py", "def handler(e, c): return 1\n"));
  EXPECT_EQ(Deploy({}).exit_code, kExitOk);
  ASSERT_EQ(updates_.size(), 2u);
  EXPECT_TRUE(updates_[1].contains("ZipFile"));
}

TEST_F(DeployTest, FailureToGetReadyIsToldByItsReason) {
  end_state_ = "Failed";
  ASSERT_EQ(Deploy().exit_code, kExitFailure);
  function_["StateReason"] = "no runtime of that name is built";
  const Ran again = Deploy();
  EXPECT_EQ(again.exit_code, kExitFailure);
  EXPECT_THAT(again.err, HasSubstr("f could not be deployed: no runtime of that name is built"));
}

TEST_F(DeployTest, WrongUseIsExitCodeTwo) {
  EXPECT_THAT(Deploy({}).err, HasSubstr("name its runtime"));
  EXPECT_EQ(Deploy({}).exit_code, kExitUsage);
  EXPECT_EQ(Deploy({"--runtime", "python3", "--env", "A"}).exit_code, kExitUsage);
  EXPECT_EQ(Deploy({"--isolation", "none"}).exit_code, kExitUsage);
  std::filesystem::rename(folder_->path() / "app.py", folder_->path() / "main.py");
  EXPECT_THAT(Deploy().err, HasSubstr("name the handler by --handler"));
  EXPECT_EQ(Deploy({"--runtime", "python3", "--handler", "main.handler"}).exit_code, kExitOk);
}

TEST_F(DeployTest, HandlerIsGuessedByTheRuntimeThatLambdasNameStandsFor) {
  EXPECT_EQ(Deploy({"--runtime", "python3.11"}).exit_code, kExitOk);
  EXPECT_EQ(created_["Handler"], "app.handler");
}

TEST_F(DeployTest, OfARuntimeThatIsNotKnownHereNoHandlerIsGuessed) {
  EXPECT_THAT(Deploy({"--runtime", "cobol"}).err, HasSubstr("name the handler by --handler"));
}

}  // namespace
}  // namespace snapfaas::cli
