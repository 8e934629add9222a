#include "gateway/http_server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <vector>

#include "gateway/http_client_for_tests.h"

namespace snapfaas::gateway {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{20'000};

// Answers /echo by what it got; keeps the responders of /wait until the test answers or drops them.
class FakeHandler : public HttpHandler {
 public:
  void Handle(HttpRequest request, Responder responder) override {
    if (request.path == "/echo") {
      responder.Send({200, {{"X-Method", request.method}, {"X-Query", request.query}}, std::move(request.body)});
    } else if (request.path == "/empty") {
      responder.Send({204, {}, ""});
    } else if (request.path == "/odd") {
      responder.Send({200,
                      {{"Content-Length", "7"},
                       {"Connection", "close"},
                       {"X-Bad", "a\r\nX-Split: 1"},
                       {"Bad Name", "x"},
                       {"X-Good", "yes"}},
                      "body"});
    } else if (request.path == "/drop") {
      // The responder goes unanswered.
    } else {
      const std::lock_guard lock(mutex_);
      responder.OnDisconnect([this] {
        const std::lock_guard inner(mutex_);
        ++gone_;
        changed_.notify_all();
      });
      waiting_.push_back(std::make_unique<Responder>(std::move(responder)));
      changed_.notify_all();
    }
  }

  uint64_t MaxBody(const HttpRequest& head) override { return head.path == "/big" ? 70U << 20 : 10U << 20; }

  HttpResponse Refuse(ServerRefusal refusal, const HttpRequest& head) override {
    switch (refusal) {
      case ServerRefusal::kMalformed:
        return {400, {}, "malformed"};
      case ServerRefusal::kBodyTooLarge:
        return {413, {}, "too large: " + head.path};
      case ServerRefusal::kExpectation:
        return {417, {}, "expectation"};
      case ServerRefusal::kHeadTooLarge:
        return {431, {}, "head too large"};
      case ServerRefusal::kOverloaded:
        return {503, {}, "overloaded"};
    }
    return {};
  }

  std::unique_ptr<Responder> TakeWaiting() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kLong, [this] { return !waiting_.empty(); })) return nullptr;
    auto taken = std::move(waiting_.back());
    waiting_.pop_back();
    return taken;
  }

  bool AwaitGone(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [this, count] { return gone_ == count; });
  }

  size_t gone() {
    const std::lock_guard lock(mutex_);
    return gone_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Responder>> waiting_;
  size_t gone_ = 0;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(const HttpServerOptions& options = {}) {
    auto started = HttpServer::Start(options, handler_);
    ASSERT_TRUE(started) << started.error().Message();
    server_ = std::move(*started);
  }
  HttpClientForTests Connect() { return HttpClientForTests(server_->port()); }

  FakeHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersOneRequestAfterTheOtherOnAConnection) {
  Start();
  HttpClientForTests client = Connect();
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.Request("POST", "/echo?a=%20b", "body");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "body");
    EXPECT_EQ(answer.Header("X-Method"), "POST");
    EXPECT_EQ(answer.Header("X-Query"), "a=%20b");
    EXPECT_FALSE(answer.Header("Date").empty());
  }
  EXPECT_EQ(server_->connections(), 1U);
}

TEST_F(HttpServerTest, TakesRequestsThatAreSentAhead) {
  Start();
  HttpClientForTests client = Connect();
  for (const char* body : {"1", "2", "3"}) client.SendRequest("POST", "/echo", body);
  for (const char* body : {"1", "2", "3"}) EXPECT_EQ(client.ReadAnswer().body, body);
}

TEST_F(HttpServerTest, ClosesWhenTheClientAsks) {
  Start();
  HttpClientForTests client = Connect();
  EXPECT_EQ(client.Request("GET", "/echo", "", "Connection: close\r\n").Header("Connection"), "close");
  EXPECT_TRUE(client.AwaitEnd());
  HttpClientForTests old = Connect();
  old.Send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.ReadAnswer().status, 200);
  EXPECT_TRUE(old.AwaitEnd());
}

TEST_F(HttpServerTest, CarriesBigBodiesBothWays) {
  Start();
  HttpClientForTests client = Connect();
  std::string body(6U << 20, 'x');
  body[4'000'000] = 'y';
  auto sent = std::async(std::launch::async, [&] { return client.SendRequest("POST", "/echo", body); });
  const auto answer = client.ReadAnswer();
  EXPECT_TRUE(sent.get());
  EXPECT_TRUE(answer.body == body);
}

TEST_F(HttpServerTest, UnderstandsChunkedBodies) {
  Start();
  HttpClientForTests client = Connect();
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(client.ReadAnswer().body, "abcde");
}

TEST_F(HttpServerTest, SaysContinueBeforeTheBodyComes) {
  Start();
  HttpClientForTests client = Connect();
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.ReadHead().status, 100);
  client.Send("body");
  EXPECT_EQ(client.ReadAnswer().body, "body");
  client.Send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.ReadAnswer().status, 417);
}

TEST_F(HttpServerTest, RefusesBodiesAboveTheLimitOfTheirPath) {
  Start();
  HttpClientForTests expecting = Connect();
  expecting.Send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10485761\r\n\r\n");
  EXPECT_EQ(expecting.ReadAnswer().body, "too large: /echo");
  // One that sends first and reads afterwards gets the answer, too.
  HttpClientForTests stubborn = Connect();
  EXPECT_TRUE(stubborn.SendRequest("POST", "/echo", std::string((10U << 20) + 1, 'x')));
  EXPECT_EQ(stubborn.ReadAnswer().status, 413);
  HttpClientForTests chunked = Connect();
  chunked.Send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nA00001\r\n");
  EXPECT_EQ(chunked.ReadAnswer().status, 413);
  HttpClientForTests other = Connect();
  other.Send("POST /big HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10485761\r\n\r\n");
  EXPECT_EQ(other.ReadHead().status, 100);
}

TEST_F(HttpServerTest, RefusesBodiesThatAreTooMuchTogether) {
  HttpServerOptions options;
  options.max_total_body_bytes = 1000;
  Start(options);
  HttpClientForTests first = Connect();
  first.SendRequest("POST", "/wait", std::string(600, 'x'));
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  HttpClientForTests second = Connect();
  EXPECT_EQ(second.Request("POST", "/echo", std::string(600, 'x')).status, 503);
  waiting->Send({200, {}, ""});
  EXPECT_EQ(first.ReadAnswer().status, 200);
  EXPECT_EQ(first.Request("POST", "/echo", std::string(600, 'x')).status, 200);
}

TEST_F(HttpServerTest, RefusesWhatIsNotHttp) {
  Start();
  HttpClientForTests babbling = Connect();
  babbling.Send("hello\r\n\r\n");
  EXPECT_EQ(babbling.ReadAnswer().status, 400);
  EXPECT_TRUE(babbling.AwaitEnd());
  HttpClientForTests verbose = Connect();
  verbose.Send("GET /echo HTTP/1.1\r\nHost: h\r\nX-Long: " + std::string(70'000, 'x'));
  EXPECT_EQ(verbose.ReadAnswer().status, 431);
  HttpClientForTests smuggler = Connect();
  smuggler.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde");
  EXPECT_EQ(smuggler.ReadAnswer().status, 400);
}

TEST_F(HttpServerTest, HeadAndEmptyAnswersHaveNoBody) {
  Start();
  HttpClientForTests client = Connect();
  EXPECT_EQ(client.Request("HEAD", "/odd").Header("Content-Length"), "4");
  EXPECT_EQ(client.Request("GET", "/empty").status, 204);
  EXPECT_EQ(client.Request("POST", "/echo", "x").body, "x") << "the connection is still in step";
}

TEST_F(HttpServerTest, LeavesOutFieldsThatWouldBreakTheAnswer) {
  Start();
  HttpClientForTests client = Connect();
  const auto answer = client.Request("GET", "/odd");
  EXPECT_EQ(answer.body, "body");
  EXPECT_EQ(answer.Header("X-Good"), "yes");
  EXPECT_EQ(answer.Header("X-Split"), "");
  EXPECT_EQ(answer.Header("X-Bad"), "");
  EXPECT_EQ(client.Request("GET", "/empty").status, 204) << "Connection is the server's";
}

TEST_F(HttpServerTest, AnUnansweredRequestIsA500) {
  Start();
  HttpClientForTests client = Connect();
  EXPECT_EQ(client.Request("GET", "/drop").status, 500);
}

TEST_F(HttpServerTest, TellsThatTheClientHasGone) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/wait", "x");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  client.Close();
  EXPECT_TRUE(handler_.AwaitGone(1));
  waiting->Send({200, {}, "to nobody"});
  // Who comes too late to hear of it hears at once.
  std::promise<void> told;
  waiting->OnDisconnect([&told] { told.set_value(); });
}

TEST_F(HttpServerTest, DoesNotTellOnceItIsAnswered) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/wait", "x");
  handler_.TakeWaiting()->Send({200, {}, ""});
  EXPECT_EQ(client.ReadAnswer().status, 200);
  client.Close();
  server_->Stop(kLong);
  EXPECT_EQ(handler_.gone(), 0U);
}

TEST_F(HttpServerTest, SlowClientsAreCutOff) {
  HttpServerOptions options;
  options.head_timeout = options.idle_timeout = options.transfer_timeout = milliseconds(50);
  Start(options);
  HttpClientForTests silent = Connect();
  EXPECT_TRUE(silent.AwaitEnd());
  HttpClientForTests half_head = Connect();
  half_head.Send("POST /echo HTTP/1.1\r\nHo");
  EXPECT_TRUE(half_head.AwaitEnd());
  HttpClientForTests half_body = Connect();
  half_body.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_TRUE(half_body.AwaitEnd());
}

TEST_F(HttpServerTest, StreamsPieceByPiece) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("GET", "/wait");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  {
    HttpStream stream = waiting->StartStream({200, {{"Content-Type", "text/event-stream"}}, ""}, 10);
    EXPECT_EQ(stream.Write("one"), StreamWrite::kTaken);
    EXPECT_EQ(client.ReadHead().Header("Content-Type"), "text/event-stream");
    EXPECT_EQ(client.ReadChunk(), "one");
    EXPECT_EQ(stream.Write("two"), StreamWrite::kTaken);
    EXPECT_EQ(client.ReadChunk(), "two");
    EXPECT_EQ(stream.Write("more than ten bytes"), StreamWrite::kFull);
  }
  EXPECT_EQ(client.ReadChunk(), "");
  EXPECT_EQ(client.Request("POST", "/echo", "next").body, "next");
  EXPECT_EQ(handler_.gone(), 0U);
}

TEST_F(HttpServerTest, StreamsEndWhenTheClientGoes) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("GET", "/wait");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  HttpStream stream = waiting->StartStream({200, {}, ""}, 10);
  EXPECT_EQ(client.ReadHead().status, 200);
  client.Close();
  EXPECT_TRUE(handler_.AwaitGone(1));
  EXPECT_EQ(stream.Write("x"), StreamWrite::kGone);
}

TEST_F(HttpServerTest, StopLetsRunningRequestsEnd) {
  Start();
  HttpClientForTests idle = Connect();
  EXPECT_EQ(idle.Request("GET", "/empty").status, 204);
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/wait", "x");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  auto stopped = std::async(std::launch::async, [this] { server_->Stop(kLong); });
  EXPECT_TRUE(idle.AwaitEnd());
  waiting->Send({200, {}, "the end"});
  const auto answer = client.ReadAnswer();
  EXPECT_EQ(answer.body, "the end");
  EXPECT_EQ(answer.Header("Connection"), "close");
  stopped.get();
  EXPECT_EQ(handler_.gone(), 0U);
  EXPECT_FALSE(Connect().connected());
}

TEST_F(HttpServerTest, StopEndsWhatOutlastsItsGrace) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("POST", "/wait", "x");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  server_->Stop(milliseconds(0));
  EXPECT_EQ(handler_.gone(), 1U);
  EXPECT_TRUE(client.AwaitEnd());
  server_.reset();
  waiting->Send({200, {}, "after the end of the server"});
}

TEST_F(HttpServerTest, StopEndsStreams) {
  Start();
  HttpClientForTests client = Connect();
  client.SendRequest("GET", "/wait");
  const auto waiting = handler_.TakeWaiting();
  ASSERT_TRUE(waiting);
  const HttpStream stream = waiting->StartStream({200, {}, ""}, 10);
  server_->Stop(kLong);
  EXPECT_EQ(handler_.gone(), 1U);
}

TEST_F(HttpServerTest, NamesWhatItCannotListenAt) {
  Start();
  HttpServerOptions options;
  options.port = server_->port();
  const auto taken = HttpServer::Start(options, handler_);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(taken.error().Message().find(std::to_string(options.port)), std::string::npos);
  options.address = "nowhere";
  EXPECT_EQ(HttpServer::Start(options, handler_).error().code, ErrorCode::kInvalidArgument);
}

TEST(HttpServer, KnowsLoopbackAddresses) {
  EXPECT_TRUE(IsLoopback("127.0.0.1").value());
  EXPECT_TRUE(IsLoopback("127.1.2.3").value());
  EXPECT_TRUE(IsLoopback("::1").value());
  EXPECT_TRUE(IsLoopback("localhost").value());
  EXPECT_FALSE(IsLoopback("0.0.0.0").value());
  EXPECT_FALSE(IsLoopback("192.168.1.2").value());
  EXPECT_EQ(IsLoopback("example.com").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace snapfaas::gateway
