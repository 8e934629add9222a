#include "gateway/lambda_invoke.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/base64.h"
#include "base/json.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

using Kind = node::InvocationAnswer::Kind;

constexpr size_t kMaxClientContextBytes = 3583;

struct Route {
  std::string function;
  bool is_async_of_old = false;
};

std::optional<Route> FindRoute(const HttpRequest& request) {
  if (request.method != "POST") return std::nullopt;
  auto segments = http::SplitPath(request.path);
  if (!segments || segments->size() != 4 || segments->at(1) != "functions") return std::nullopt;
  const std::string& date = segments->at(0);
  const std::string& what = segments->at(3);
  if (date == "2015-03-31" && what == "invocations") return Route{std::move(segments->at(2)), false};
  if (date == "2014-11-13" && what == "invoke-async") return Route{std::move(segments->at(2)), true};
  return std::nullopt;
}

std::string_view FieldOr(const HttpRequest& request, std::string_view name, std::string_view otherwise) {
  return FindField(request.headers, name).value_or(otherwise);
}

LambdaResult<std::string> ReadClientContext(const HttpRequest& request) {
  const auto encoded = FindField(request.headers, "X-Amz-Client-Context");
  if (!encoded || encoded->empty()) return std::string();
  auto decoded = DecodeBase64(*encoded);
  if (encoded->size() > kMaxClientContextBytes || !decoded || !nlohmann::json::accept(*decoded)) {
    return tl::unexpected(InvalidRequestContent(
        fmt::format("X-Amz-Client-Context must be JSON in base64, of at most {} characters", kMaxClientContextBytes)));
  }
  return std::move(*decoded);
}

// Lambda's own words.
std::string NotReadyMessage(const std::string& message) {
  if (!message.empty()) return message;
  return "The operation cannot be performed at this time. The function is currently in the following state: Pending";
}

HttpResponse Failure(const LambdaPlace& place, const node::Invocation& invocation, Kind kind,
                     const std::string& message, const std::string& reason) {
  switch (kind) {
    case Kind::kNotFound:
      return ToResponse(FunctionNotFound(place, {invocation.function, invocation.qualifier}));
    case Kind::kNotReady:
      return ToResponse(ResourceConflict(NotReadyMessage(message)));
    case Kind::kThrottled: {
      HttpResponse response = ToResponse(TooManyRequests(reason));
      response.headers.emplace_back("Retry-After", "1");
      return response;
    }
    case Kind::kUnavailable:
      return ToResponse(ServiceUnavailable(message));
    case Kind::kCancelled:
    case Kind::kAnswered:
      break;
  }
  return ToResponse(ServiceFailure("The invocation was cancelled"));
}

HttpResponse Answer(node::InvocationAnswer answer, bool with_log) {
  if (answer.payload.size() > kMaxAnswerBytes) {
    answer.function_error = "Unhandled";
    answer.payload =
        fmt::format(R"({{"errorType":"Function.ResponseSizeTooLarge",)"
                    R"("errorMessage":"Response payload size exceeded maximum allowed payload size ({} bytes)."}})",
                    kMaxAnswerBytes);
  }
  HttpResponse response{200, {{"Content-Type", "application/json"}}, std::move(answer.payload)};
  response.headers.emplace_back("X-Amz-Executed-Version", answer.executed_version);
  if (!answer.function_error.empty()) response.headers.emplace_back("X-Amz-Function-Error", answer.function_error);
  if (with_log) response.headers.emplace_back("X-Amz-Log-Result", EncodeBase64(answer.log_tail));
  AddTimings(answer, response.headers);
  return response;
}

}  // namespace

void AddTimings(const node::InvocationAnswer& answer, HttpFields& headers) {
  const auto& timings = answer.timings;
  const char* start = timings.start == faas::StartKind::kIdle    ? "idle"
                      : timings.start == faas::StartKind::kReset ? "reset"
                                                                 : "restored";
  headers.emplace_back("X-SnapFaaS-Start", start);
  headers.emplace_back("X-SnapFaaS-Snapshot", timings.from_function_snapshot ? "function" : "base");
  const std::pair<const char*, double> phases[] = {{"Queued", timings.queued},
                                                   {"Restore", timings.restore},
                                                   {"Load", timings.load},
                                                   {"Run", timings.run},
                                                   {"Total", answer.total_ms}};
  for (const auto& [name, milliseconds] : phases) {
    headers.emplace_back(fmt::format("X-SnapFaaS-{}-Ms", name), fmt::format("{:.3f}", milliseconds));
  }
}

void InvokeFor(Responder responder, node::Invoker& invoker, node::Invocation invocation,
               std::function<HttpResponse(node::InvocationAnswer)> respond) {
  // Shared by the answer, which may be there before Invoke returns, and by what follows.
  const auto shared = std::make_shared<Responder>(std::move(responder));
  const auto ticket =
      invoker.Invoke(std::move(invocation), [shared, respond = std::move(respond)](node::InvocationAnswer answer) {
        shared->Send(respond(std::move(answer)));
      });
  shared->OnDisconnect([&invoker, ticket] { invoker.Cancel(ticket); });
}

bool LambdaInvoke::IsFor(const HttpRequest& head) { return FindRoute(head).has_value(); }

LambdaError LambdaInvoke::TooLarge(size_t limit) {
  return RequestTooLarge(fmt::format("Request must be smaller than {} bytes for the InvokeFunction operation", limit));
}

void LambdaInvoke::Handle(HttpRequest request, const std::string& request_id, Responder responder) {
  const auto route = FindRoute(request);
  std::string type(FieldOr(request, "X-Amz-Invocation-Type", "RequestResponse"));
  if (route && route->is_async_of_old) type = "Event";
  const std::string log_type(FieldOr(request, "X-Amz-Log-Type", "None"));
  if (type != "RequestResponse" && type != "Event" && type != "DryRun") {
    return responder.Send(ToResponse(ConstraintViolated(
        type, "invocationType", "Member must satisfy enum value set: [Event, DryRun, RequestResponse]")));
  }
  if (log_type != "None" && log_type != "Tail") {
    return responder.Send(
        ToResponse(ConstraintViolated(log_type, "logType", "Member must satisfy enum value set: [None, Tail]")));
  }
  const size_t limit = type == "Event" ? kMaxAsyncEventBytes : kMaxEventBytes;
  if (request.body.size() > limit) return responder.Send(ToResponse(TooLarge(limit)));
  auto invocation = ReadInvocation(request, request_id);
  if (!invocation) return responder.Send(ToResponse(invocation.error()));

  if (type == "DryRun") {
    DryRun(*invocation, std::move(responder));
  } else if (type == "RequestResponse") {
    InvokeAndWait(std::move(*invocation), log_type == "Tail", std::move(responder));
  } else if (route && route->is_async_of_old) {
    Accept(std::move(*invocation), {202, {{"Content-Type", "application/json"}}, R"({"Status":202})"},
           std::move(responder));
  } else {
    Accept(std::move(*invocation), {202, {}, ""}, std::move(responder));
  }
}

LambdaResult<node::Invocation> LambdaInvoke::ReadInvocation(HttpRequest& request, const std::string& request_id) const {
  auto route = FindRoute(request);
  const auto query = http::ParseQuery(request.query);
  if (!route || !query) return tl::unexpected(InvalidRequestContent("The request's path or query is badly encoded"));
  auto name = ParseFunctionName(route->function, http::FindQuery(*query, "Qualifier"), place_);
  if (!name) return tl::unexpected(std::move(name.error()));
  auto client_context = ReadClientContext(request);
  if (!client_context) return tl::unexpected(std::move(client_context.error()));
  if (request.body.empty()) request.body = "{}";
  if (!nlohmann::json::accept(request.body)) {
    return tl::unexpected(InvalidRequestContent("Could not parse request body into json: the event is not JSON"));
  }
  return node::Invocation{std::move(name->name), std::move(name->qualifier), request_id, std::move(request.body),
                          std::move(*client_context)};
}

void LambdaInvoke::InvokeAndWait(node::Invocation invocation, bool with_log, Responder responder) {
  node::Invocation asked{invocation.function, invocation.qualifier, "", "", ""};
  InvokeFor(std::move(responder), invoker_, std::move(invocation),
            [place = place_, asked = std::move(asked), with_log](node::InvocationAnswer answer) {
              if (answer.kind == Kind::kAnswered) return Answer(std::move(answer), with_log);
              return Failure(place, asked, answer.kind, answer.message, answer.reason);
            });
}

void LambdaInvoke::Accept(node::Invocation invocation, const HttpResponse& accepted, Responder responder) {
  const auto shared = std::make_shared<Responder>(std::move(responder));
  const bool taken = workers_.Post([this, shared, accepted, invocation = std::move(invocation)] {
    const Status status = events_.Accept(invocation);
    if (status) {
      shared->Send(accepted);
    } else if (status.error().code == ErrorCode::kNotFound) {
      shared->Send(Failure(place_, invocation, Kind::kNotFound, "", ""));
    } else if (status.error().code == ErrorCode::kUnavailable) {
      shared->Send(Failure(place_, invocation, Kind::kUnavailable, status.error().Message(), ""));
    } else {
      shared->Send(ToResponse(FromError(status.error())));
    }
  });
  if (!taken) shared->Send(Failure(place_, {}, Kind::kThrottled, "", "CallerRateLimitExceeded"));
}

void LambdaInvoke::DryRun(const node::Invocation& invocation, Responder responder) {
  const auto shared = std::make_shared<Responder>(std::move(responder));
  const bool taken = workers_.Post([this, shared, invocation] {
    const auto check = invoker_.Check(invocation.function, invocation.qualifier);
    if (check.kind == Kind::kAnswered) return shared->Send({204, {}, ""});
    shared->Send(Failure(place_, invocation, check.kind, check.message, ""));
  });
  if (!taken) shared->Send(Failure(place_, {}, Kind::kThrottled, "", "CallerRateLimitExceeded"));
}

}  // namespace snapfaas::gateway
