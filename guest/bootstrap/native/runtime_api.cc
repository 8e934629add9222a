#include "bootstrap/native/runtime_api.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "bootstrap/native/report.h"

namespace snapfaas::guest::native {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "/2018-06-01/runtime/";
constexpr std::string_view kJson = "Content-Type: application/json\r\n";
constexpr std::string_view kAccepted = "{\"status\":\"OK\"}\n";
constexpr int kMaxPauseMs = 50;

std::string MakeUuid() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) < 0) bytes.fill(0);
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0fU) | 0x40U);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3fU) | 0x80U);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[bytes[i] >> 4U];
    text += kDigits[bytes[i] & 0xfU];
  }
  return text;
}

// Whatever the host says, it stays one header field.
void AddField(std::string& fields, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  fields += name;
  fields += ": ";
  for (const char c : value) fields += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? ' ' : c;
  fields += "\r\n";
}

// Of a string or a number.
std::string ContextField(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_number() ? found->dump() : std::string();
}

}  // namespace

std::string Control::ReadLine() const {
  // The agent says nothing more before it has its answer.
  std::string line;
  while (!line.ends_with('\n')) {
    std::array<char, 256> piece{};
    const ssize_t got = ::read(in_, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) Die("the agent is gone");
    line.append(piece.data(), static_cast<size_t>(got));
  }
  line.pop_back();
  return line;
}

void Control::Say(std::string_view word) const {
  std::string line(word);
  line += '\n';
  if (::write(out_, line.data(), line.size()) < 0) Die("the agent is gone");
}

RuntimeApi::RuntimeApi(int channel_fd, const Control& control) : channel_(channel_fd), control_(control) {
  answer_.data = answer_memory_.data();
}

RuntimeApi::~RuntimeApi() {
  if (listener_ >= 0) ::close(listener_);
}

void RuntimeApi::Listen(const std::string& address) {
  const size_t colon = address.find(':');
  sockaddr_in name{};
  name.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &name.sin_addr) != 1) {
    Die("'%s' is no address to listen at", address.c_str());
  }
  name.sin_port = htons(static_cast<uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10)));
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  socklen_t length = sizeof(name);
  auto* generic = reinterpret_cast<sockaddr*>(&name);
  if (::bind(listener_, generic, length) != 0 || ::listen(listener_, kMaxConnections) != 0 ||
      ::getsockname(listener_, generic, &length) != 0) {
    Die("cannot listen at %s: %s", address.c_str(), std::strerror(errno));
  }
  address_ = address.substr(0, colon + 1) + std::to_string(ntohs(name.sin_port));
}

void RuntimeApi::Begin(FunctionProcess* function, Snapshot snapshot) {
  function_ = function;
  snapshot_wanted_ = snapshot == Snapshot::kWanted;
  begun_ = true;
}

void RuntimeApi::Fail(const LoadError& error) {
  begun_ = true;
  failure_ = MakeReport(error.type, error.message, "");
  state_ = State::kInitError;
  channel_.Write("init-error", failure_);
  control_.Say("failed");
}

// ---- the loop ----------------------------------------------------------------------------------------------------

void RuntimeApi::Turn(int timeout_ms) {
  std::array<pollfd, kMaxConnections + 3> fds{};
  nfds_t count = 0;
  const auto watch = [&](int fd, short events) {
    fds[count] = {fd, events, 0};
    return count++;
  };
  const bool frames = WantsFrames();
  // No host: poll(2) would return at once, again and again.
  const bool paused = frames && pause_ms_ > 0;
  const nfds_t channel = watch(frames && !paused ? channel_.fd() : -1, POLLIN);
  const bool has_room = std::any_of(requests_.begin(), requests_.end(), [](const Request& request) {
    return request.connection == nullptr || request.connection->draining();
  });
  const nfds_t listener = watch(has_room ? listener_ : -1, POLLIN);
  // Once it has said that it cannot serve, its end is no news.
  const nfds_t function = watch(function_ != nullptr && failure_.empty() ? function_->pidfd() : -1, POLLIN);
  for (const Request& request : requests_) {
    if (request.connection != nullptr) watch(request.connection->fd(), request.connection->WantedEvents());
  }
  if (paused && (timeout_ms < 0 || timeout_ms > pause_ms_)) timeout_ms = pause_ms_;
  if (::poll(fds.data(), count, timeout_ms) < 0 && errno != EINTR) Die("poll: %s", std::strerror(errno));

  bool quiet = fds[listener].revents == 0;
  nfds_t at = function + 1;
  for (Request& request : requests_) {
    if (request.connection == nullptr) continue;
    quiet = quiet && fds[at].revents == 0;
    request.connection->HandleEvents(fds[at++].revents);
    if (request.connection->closed()) request.connection.reset();
  }
  if (fds[listener].revents != 0) Accept();
  // What it said before it ended counts.
  if (fds[function].revents != 0 && quiet) function_->EndLikeIt();
  if (paused ? channel_.HasSomethingToRead() : fds[channel].revents != 0) {
    pause_ms_ = channel_.Read() ? 0 : std::min(std::max(1, 2 * pause_ms_), kMaxPauseMs);
  } else if (paused) {
    pause_ms_ = 0;
  }
  PumpFrames();
}

void RuntimeApi::Accept() {
  auto free = std::find_if(requests_.begin(), requests_.end(),
                           [](const Request& request) { return request.connection == nullptr; });
  if (free == requests_.end()) {
    free = std::find_if(requests_.begin(), requests_.end(),
                        [](const Request& request) { return request.connection->draining(); });
  }
  if (free == requests_.end()) return;
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  free->connection = std::make_unique<Connection>(fd, *this);
}

// ---- the function's side -----------------------------------------------------------------------------------------

RuntimeApi::Request& RuntimeApi::RequestOf(const Connection& connection) {
  return *std::find_if(requests_.begin(), requests_.end(),
                       [&](const Request& request) { return request.connection.get() == &connection; });
}

RuntimeApi::Route RuntimeApi::RouteOf(std::string_view path, std::string_view& request_id) const {
  if (!path.starts_with(kPrefix)) return Route::kUnknown;
  path.remove_prefix(kPrefix.size());
  if (path == "invocation/next") return Route::kNext;
  if (path == "init/error") return Route::kInitError;
  if (path == "restore/next") return Route::kRestoreNext;
  if (path == "restore/error") return Route::kRestoreError;
  constexpr std::string_view kInvocation = "invocation/";
  const size_t slash = path.rfind('/');
  if (!path.starts_with(kInvocation) || slash < kInvocation.size()) return Route::kUnknown;
  request_id = path.substr(kInvocation.size(), slash - kInvocation.size());
  const std::string_view what = path.substr(slash + 1);
  return what == "response" ? Route::kResponse : what == "error" ? Route::kError : Route::kUnknown;
}

const char* RuntimeApi::NameOf(State state) {
  switch (state) {
    case State::kStarted:
      return "Started";
    case State::kRestoreReady:
      return "RestoreReady";
    case State::kRestoring:
      return "Restoring";
    case State::kReady:
      return "Ready";
    case State::kRunning:
      return "Running";
    case State::kResponseSent:
      return "ResponseSent";
    case State::kInitError:
      return "InitError";
    case State::kRestoreError:
      return "RestoreError";
  }
  return "";
}

bool RuntimeApi::IsInPlace(Route route) const {
  switch (route) {
    case Route::kNext:
      // While it runs, it gets the same event again: the first response may have been lost.
      return (state_ == State::kStarted || state_ == State::kRestoring || state_ == State::kRunning ||
              state_ == State::kResponseSent || state_ == State::kReady) &&
             waiter_ == nullptr;
    case Route::kResponse:
    case Route::kError:
      return state_ == State::kRunning;
    case Route::kRestoreNext:
    case Route::kInitError:
      return state_ == State::kStarted;
    case Route::kRestoreError:
      return state_ == State::kRestoring;
    case Route::kUnknown:
      break;
  }
  return false;
}

const char* RuntimeApi::TargetOf(Route route) {
  switch (route) {
    case Route::kNext:
      return NameOf(State::kReady);
    case Route::kResponse:
      return "InvocationResponse";
    case Route::kError:
      return "InvocationErrorResponse";
    case Route::kInitError:
      return NameOf(State::kInitError);
    case Route::kRestoreNext:
      return NameOf(State::kRestoreReady);
    case Route::kRestoreError:
      return NameOf(State::kRestoreError);
    case Route::kUnknown:
      break;
  }
  return "";
}

void RuntimeApi::Refuse(Request& request, int status, std::string_view type, std::string_view message) {
  request.refusal = status;
  const json body = {{"errorMessage", message}, {"errorType", type}};
  request.refusal_body = body.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
}

void RuntimeApi::RefuseTransition(Request& request) const {
  Refuse(request, 403, "InvalidStateTransition",
         std::string("State transition from ") + NameOf(state_) + " to " + TargetOf(request.route) +
             " failed for runtime. Error: State transition is not allowed");
}

void RuntimeApi::CheckRequest(Request& request, const Head& head, std::string_view request_id) const {
  const bool gets = request.route == Route::kNext || request.route == Route::kRestoreNext;
  const bool is_invocation = request.route == Route::kResponse || request.route == Route::kError;
  const std::string_view mode = head.fields.Get("Lambda-Runtime-Function-Response-Mode");
  if (request.route == Route::kUnknown) {
    Refuse(request, 404, "NotFound", "There is nothing at this path");
  } else if (head.method != (gets ? "GET" : "POST")) {
    Refuse(request, 405, "MethodNotAllowed", gets ? "Use GET" : "Use POST");
  } else if (!IsInPlace(request.route) || (!gets && answerer_ != nullptr)) {
    RefuseTransition(request);
  } else if (is_invocation && request_id != event_id_) {
    Refuse(request, 400, "InvalidRequestID", "Invalid request ID");
  } else if (request.route == Route::kResponse && !mode.empty() && mode != "streaming") {
    Refuse(request, 400, "InvalidFunctionResponseMode", "Invalid function response mode");
  }
  request.streaming = mode == "streaming";
  request.http_integration =
      head.fields.Get("Content-Type").starts_with("application/vnd.awslambda.http-integration-response");
  request.error_type = head.fields.Get("Lambda-Runtime-Function-Error-Type");
}

Body* RuntimeApi::BeginRequest(Connection& connection, const Head& head) {
  Request& request = RequestOf(connection);
  std::string_view request_id;
  request.refusal = 0;
  request.refusal_body.clear();
  request.route = RouteOf(head.path, request_id);
  CheckRequest(request, head, request_id);
  if (request.refusal != 0 || request.route == Route::kNext || request.route == Route::kRestoreNext) return nullptr;
  answerer_ = &connection;
  answer_.capacity = request.route == Route::kResponse ? kMaxResponseBytes : answer_memory_.size();
  answer_.size = 0;
  answer_.total = 0;
  return &answer_;
}

void RuntimeApi::EndRequest(Connection& connection, const Fields& trailers) {
  Request& request = RequestOf(connection);
  if (&connection == answerer_) answerer_ = nullptr;
  // Other connections may have moved things on while this request was under way.
  if (request.refusal == 0 && !IsInPlace(request.route)) RefuseTransition(request);
  if (request.refusal == 0) {
    switch (request.route) {
      case Route::kNext:
        return TakeNext(connection);
      case Route::kRestoreNext:
        return TakeRestoreNext(connection);
      case Route::kResponse:
        TakeResponse(request, trailers);
        break;
      case Route::kError:
        Answer("error", ReportOfBody(answer_.text(), request.error_type, event_id_));
        break;
      case Route::kInitError:
        TakeFailure(request, State::kInitError);
        break;
      case Route::kRestoreError:
        TakeFailure(request, State::kRestoreError);
        break;
      case Route::kUnknown:
        break;
    }
    answer_memory_.Shrink(answer_.size);
  }
  if (request.refusal != 0) return connection.Respond(request.refusal, kJson, request.refusal_body);
  connection.Respond(202, kJson, kAccepted);
}

void RuntimeApi::LoseRequest(Connection& connection) {
  if (&connection == waiter_) waiter_ = nullptr;
  if (&connection != answerer_) return;
  answerer_ = nullptr;
  const Route route = RequestOf(connection).route;
  if (state_ != State::kRunning || (route != Route::kResponse && route != Route::kError)) return;
  // Half an answer is none.
  Answer("error",
         MakeReport("Runtime.TruncatedResponse", "The function has gone in the midst of its answer", event_id_));
}

void RuntimeApi::TakeNext(Connection& connection) {
  if (state_ == State::kRunning) return Deliver(connection);
  if (!loaded_) SayLoaded();
  state_ = State::kReady;
  waiter_ = &connection;
}

void RuntimeApi::TakeRestoreNext(Connection& connection) {
  state_ = State::kRestoreReady;
  if (snapshot_wanted_) SayLoaded();
  // Behind the snapshot; where none is wanted there is nothing to wait for.
  state_ = State::kRestoring;
  connection.Respond(200, kJson, "");
}

void RuntimeApi::TakeResponse(Request& request, const Fields& trailers) {
  if (answer_.total > answer_.size) {
    Refuse(request, 413, "RequestEntityTooLarge",
           "Exceeded maximum allowed payload size (" + std::to_string(kMaxResponseBytes) + " bytes).");
    return AnswerTooLarge(answer_.total);
  }
  if (const std::string_view type = trailers.Get("Lambda-Runtime-Function-Error-Type"); !type.empty()) {
    const std::string body = DecodeBase64(trailers.Get("Lambda-Runtime-Function-Error-Body"));
    return Answer("error", ReportOfBody(body, type, event_id_));
  }
  if (request.streaming && request.http_integration) {
    const std::string collected = CollectHttpResponse(answer_.text());
    if (collected.size() > kMaxResponseBytes) return AnswerTooLarge(collected.size());
    if (!collected.empty()) return Answer("result", collected);
  }
  Answer("result", answer_.text());
}

// The function cannot serve. It is expected to end now, and what becomes of it matters no longer.
void RuntimeApi::TakeFailure(const Request& request, State state) {
  failure_ = ReportOfBody(answer_.text(), request.error_type, "");
  state_ = state;
  channel_.Write("init-error", failure_);
  if (!loaded_) control_.Say("failed");
}

void RuntimeApi::Answer(std::string_view kind, std::string_view payload) {
  state_ = State::kResponseSent;
  channel_.Write(kind, payload);
}

void RuntimeApi::AnswerTooLarge(uint64_t bytes) {
  Answer("error", MakeReport("Function.ResponseSizeTooLarge",
                             "Response payload size (" + std::to_string(bytes) +
                                 " bytes) exceeded maximum allowed payload size (" + std::to_string(kMaxResponseBytes) +
                                 " bytes).",
                             event_id_));
}

// ---- the host's side ---------------------------------------------------------------------------------------------

void RuntimeApi::SayLoaded() {
  loaded_ = true;
  if (!snapshot_wanted_) return control_.Say("loaded");
  if (function_ != nullptr) function_->PrepareSnapshot();
  control_.Say("loaded");
  PassSnapshot();
}

// Waits in it: nothing may move before the microVM knows who it is.
void RuntimeApi::PassSnapshot() {
  const std::string line = control_.ReadLine();
  if (!line.starts_with("resume ")) Die("the agent said '%.80s'", line.c_str());
  if (function_ != nullptr) function_->TakeIdentity();
}

bool RuntimeApi::WantsFrames() const {
  if (!begun_) return false;
  if (!failure_.empty()) return true;
  if (state_ != State::kReady || waiter_ == nullptr) return false;
  // The last event is still being sent to somebody who has asked for it twice.
  return std::none_of(requests_.begin(), requests_.end(), [](const Request& request) {
    return request.connection != nullptr && request.connection->lends_body();
  });
}

void RuntimeApi::PumpFrames() {
  while (WantsFrames()) {
    const Channel::Frame frame = channel_.Next();
    if (frame.kind.empty()) return;
    if (frame.kind == "context") {
      TakeContext(frame.payload);
    } else if (frame.kind == "event") {
      TakeEvent(frame.payload);
    } else {
      Die("the host sent a frame of unknown kind '%.40s'", std::string(frame.kind).c_str());
    }
  }
}

void RuntimeApi::TakeContext(std::string_view payload) {
  const json values = json::parse(payload.begin(), payload.end(), nullptr, /*allow_exceptions=*/false);
  if (values.is_discarded()) Die("the host sent a context that is not JSON");
  context_ = {};
  if (!values.is_object()) return;
  context_.request_id = ContextField(values, "requestId");
  AddField(context_.fields, "Lambda-Runtime-Deadline-Ms", ContextField(values, "deadlineMs"));
  AddField(context_.fields, "Lambda-Runtime-Invoked-Function-Arn", ContextField(values, "invokedFunctionArn"));
  if (const auto client = values.find("clientContext"); client != values.end() && client->is_object()) {
    // In ASCII, as header fields are.
    AddField(context_.fields, "Lambda-Runtime-Client-Context",
             client->dump(-1, ' ', true, json::error_handler_t::replace));
  }
}

void RuntimeApi::TakeEvent(std::string_view payload) {
  if (!failure_.empty()) return channel_.Write("error", failure_);
  event_ = payload;
  event_id_ = context_.request_id.empty() ? MakeUuid() : context_.request_id;
  event_fields_ = kJson;
  AddField(event_fields_, "Lambda-Runtime-Aws-Request-Id", event_id_);
  event_fields_ += context_.fields;
  state_ = State::kRunning;
  Connection& connection = *waiter_;
  waiter_ = nullptr;
  Deliver(connection);
  connection.Process();
}

void RuntimeApi::Deliver(Connection& connection) { connection.RespondLending(200, event_fields_, event_); }

}  // namespace snapfaas::guest::native
