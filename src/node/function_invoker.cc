#include "node/function_invoker.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace snapfaas::node {
namespace {

using Kind = InvocationAnswer::Kind;
using Outcome = faas::FunctionOutcome;

// Of a request whose function is replaced again and again while it waits.
constexpr int kMaxTries = 5;

std::string Report(std::string_view type, const std::string& message) {
  return nlohmann::ordered_json{{"errorType", type}, {"errorMessage", message}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

InvocationAnswer FunctionError(std::string payload) {
  InvocationAnswer answer;
  answer.payload = std::move(payload);
  answer.function_error = "Unhandled";
  return answer;
}

InvocationAnswer Refusal(Kind kind, std::string message) {
  InvocationAnswer answer;
  answer.kind = kind;
  answer.message = std::move(message);
  return answer;
}

InvocationAnswer Throttled(Outcome::Throttle throttle) {
  auto answer = Refusal(Kind::kThrottled, "Rate Exceeded.");
  answer.reason = throttle == Outcome::Throttle::kReservedConcurrency
                      ? "ReservedFunctionConcurrentInvocationLimitExceeded"
                      : "ConcurrentInvocationLimitExceeded";
  return answer;
}

InvocationAnswer NotReady(const registry::FunctionVersion& version) {
  return Refusal(Kind::kNotReady,
                 fmt::format("The operation cannot be performed at this time. The function is currently in the "
                             "following state: {}",
                             registry::StateName(version.state)));
}

InvocationAnswer AnswerByKind(Outcome& outcome, const std::string& request_id, int64_t timeout_ns) {
  switch (outcome.kind) {
    case Outcome::Kind::kResult: {
      InvocationAnswer answer;
      answer.payload = std::move(outcome.payload);
      return answer;
    }
    case Outcome::Kind::kError:
    case Outcome::Kind::kInitError:
      return FunctionError(std::move(outcome.payload));
    case Outcome::Kind::kTimedOut:
      return FunctionError(
          Report("Sandbox.Timedout", fmt::format("RequestId: {} Error: Task timed out after {:.2f} seconds", request_id,
                                                 static_cast<double>(timeout_ns) / kSecond)));
    case Outcome::Kind::kCrashed:
      return FunctionError(
          Report("Runtime.ExitError",
                 fmt::format("RequestId: {} Error: {}", request_id,
                             outcome.message.empty() ? "Runtime exited without providing a reason" : outcome.message)));
    case Outcome::Kind::kLaunchFailed:
      return Refusal(Kind::kUnavailable, "no microVM could be started: " + outcome.message);
    case Outcome::Kind::kThrottled:
      return Throttled(outcome.throttle);
    case Outcome::Kind::kCancelled:
      return Refusal(Kind::kCancelled, "the client has gone");
    case Outcome::Kind::kRetired:
      return Refusal(Kind::kUnavailable, "the function is being replaced");
    case Outcome::Kind::kStopping:
      return Refusal(Kind::kUnavailable, "the node is about to stop");
  }
  return Refusal(Kind::kUnavailable, "the node has lost the request");
}

InvocationAnswer AnswerOf(Outcome outcome, const std::string& request_id, int64_t timeout_ns) {
  InvocationAnswer answer = AnswerByKind(outcome, request_id, timeout_ns);
  answer.log_tail = std::move(outcome.log_tail);
  answer.timings = outcome.timings;
  return answer;
}

std::string VmKeyOf(const registry::FunctionVersion& version, const registry::Deployed& deployed) {
  const registry::FunctionConfig& config = deployed.config;
  return fmt::format("{}:{}@{}/{}MiB/{}s{}{}", version.function, version.version, deployed.image, config.memory_mib,
                     config.timeout_s, config.isolation == registry::Isolation::kReset ? "/reset" : "",
                     config.snap_start == registry::SnapStart::kNone ? "" : "/snapshot");
}

int64_t TimeoutOf(const registry::FunctionConfig& config) { return int64_t{config.timeout_s} * kSecond; }

}  // namespace

faas::FunctionSpec SpecOf(const registry::FunctionVersion& version, const registry::Deployed& deployed,
                          std::optional<uint32_t> reserved_concurrency, uint32_t vcpus,
                          const registry::Runtimes& runtimes) {
  const registry::Runtime* runtime = runtimes.Find(deployed.config.runtime);
  const uint32_t memory_mib = std::max(deployed.config.memory_mib, runtime == nullptr ? 0 : runtime->min_memory_mib);
  const uint32_t steps = (memory_mib + faas::kMemoryStepMib - 1) / faas::kMemoryStepMib;
  faas::FunctionSpec spec;
  spec.key = VmKeyOf(version, deployed);
  spec.function = version.function;
  spec.version = version.version;
  spec.size = {std::clamp(steps * faas::kMemoryStepMib, faas::kMinMemoryMib, faas::kMaxMemoryMib), vcpus};
  spec.isolation =
      deployed.config.isolation == registry::Isolation::kReset ? faas::Isolation::kReset : faas::Isolation::kReuse;
  spec.timeout_ns = TimeoutOf(deployed.config);
  spec.reserved_concurrency = reserved_concurrency;
  return spec;
}

std::string FunctionArn(const ArnParts& parts, const std::string& function, const std::string& qualifier) {
  std::string arn = fmt::format("arn:aws:lambda:{}:{}:function:{}", parts.region, parts.account, function);
  if (!qualifier.empty()) arn += ":" + qualifier;
  return arn;
}

FunctionInvoker::FunctionInvoker(registry::Registry& registry, faas::RequestManager& requests, EventHub& events,
                                 Observe observe, Options options)
    : registry_(registry),
      requests_(requests),
      events_(events),
      observe_(std::move(observe)),
      options_(std::move(options)) {}

Invoker::Ticket FunctionInvoker::Invoke(Invocation invocation, std::function<void(InvocationAnswer)> done) {
  const Key key(invocation.function, invocation.qualifier);
  Ticket ticket = 0;
  bool is_stopped = false;
  {
    const std::lock_guard lock(mutex_);
    ticket = ++last_ticket_;
    is_stopped = stopped_;
    Call call;
    call.invocation = std::move(invocation);
    call.done = std::move(done);
    call.begun_ns = MonotonicNanos();
    calls_.emplace(ticket, std::move(call));
  }
  if (is_stopped) {
    Answer(ticket, Refusal(Kind::kUnavailable, "the node is about to stop"));
  } else if (const auto known = Known(key)) {
    Submit(ticket, *known);
  } else {
    look_ups_.Post([this, ticket] { LookUp(ticket); });
  }
  return ticket;
}

void FunctionInvoker::Cancel(Ticket ticket) {
  std::optional<faas::RequestManager::Ticket> submitted;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(ticket);
    if (found == calls_.end()) return;
    found->second.is_cancelled = true;
    submitted = found->second.submitted;
  }
  if (submitted) requests_.Cancel(*submitted);
}

InvocationCheck FunctionInvoker::Check(const std::string& function, const std::string& qualifier) {
  auto resolution = registry_.Resolve(function, qualifier);
  if (!resolution) {
    const bool is_missing = resolution.error().code == ErrorCode::kNotFound;
    return {is_missing ? Kind::kNotFound : Kind::kUnavailable, resolution.error().Message()};
  }
  const registry::FunctionVersion& version = resolution->Choose(0);
  if (version.deployed) return {};
  return {Kind::kNotReady, NotReady(version).message};
}

void FunctionInvoker::Stop() {
  std::vector<Ticket> waiting;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  look_ups_.Stop();
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [ticket, call] : calls_) {
      if (!call.submitted) waiting.push_back(ticket);
    }
  }
  for (const Ticket ticket : waiting) Answer(ticket, Refusal(Kind::kUnavailable, "the node is about to stop"));
}

std::shared_ptr<const registry::Resolution> FunctionInvoker::Known(const Key& key) {
  const std::lock_guard lock(mutex_);
  if (known_generation_ != registry_.generation()) return nullptr;
  const auto found = known_.find(key);
  return found == known_.end() ? nullptr : found->second;
}

// On the look-up thread.
void FunctionInvoker::LookUp(Ticket ticket) {
  Key key;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(ticket);
    if (found == calls_.end()) return;
    key = {found->second.invocation.function, found->second.invocation.qualifier};
  }
  // Somebody else may have looked it up meanwhile.
  if (const auto known = Known(key)) return Submit(ticket, *known);
  const uint64_t generation = registry_.generation();
  auto resolution = registry_.Resolve(key.first, key.second);
  if (!resolution) {
    const bool is_missing = resolution.error().code == ErrorCode::kNotFound;
    return Answer(ticket, Refusal(is_missing ? Kind::kNotFound : Kind::kUnavailable, resolution.error().Message()));
  }
  const auto shared = std::make_shared<const registry::Resolution>(std::move(*resolution));
  {
    const std::lock_guard lock(mutex_);
    if (known_generation_ != generation) known_.clear();
    known_generation_ = generation;
    known_.insert_or_assign(key, shared);
  }
  Submit(ticket, *shared);
}

void FunctionInvoker::Submit(Ticket ticket, const registry::Resolution& resolution) {
  const registry::FunctionVersion& version = resolution.Choose(Random());
  if (!version.deployed) return Answer(ticket, NotReady(version));
  auto request = std::make_shared<faas::FunctionRequest>();
  bool is_cancelled = false;
  int this_try = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(ticket);
    if (found == calls_.end()) return;
    Call& call = found->second;
    is_cancelled = call.is_cancelled;
    call.version = version.version;
    this_try = ++call.tries;
    request->id = call.invocation.request_id;
    // The event stays with the request; a second try gets it back from there.
    request->event = std::move(call.invocation.event);
    request->client_context = call.invocation.client_context;
    request->arn = FunctionArn(options_.arn, call.invocation.function, call.invocation.qualifier);
  }
  if (is_cancelled) return Answer(ticket, Refusal(Kind::kCancelled, "the client has gone"));
  const int64_t timeout_ns = TimeoutOf(version.deployed->config);
  const auto submitted = requests_.Submit(
      SpecOf(version, *version.deployed, resolution.reserved_concurrency, options_.vcpus, options_.runtimes), request,
      [this, ticket, request, timeout_ns](Outcome outcome) {
        if (outcome.kind == Outcome::Kind::kRetired) {
          const std::lock_guard lock(mutex_);
          const auto found = calls_.find(ticket);
          if (found != calls_.end() && found->second.tries < kMaxTries && !stopped_) {
            found->second.invocation.event = request->event;
            found->second.submitted.reset();
            ++found->second.tries;
            look_ups_.Post([this, ticket] { LookUp(ticket); });
            return;
          }
        }
        Answer(ticket, AnswerOf(std::move(outcome), request->id, timeout_ns));
      });
  bool cancel_now = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(ticket);
    // It may have been answered by now, or be on its next try.
    if (found == calls_.end() || found->second.tries != this_try) return;
    found->second.submitted = submitted;
    cancel_now = found->second.is_cancelled;
  }
  if (cancel_now) requests_.Cancel(submitted);
}

void FunctionInvoker::Answer(Ticket ticket, InvocationAnswer answer) {
  auto call = Take(ticket);
  if (!call) return;
  answer.executed_version = call->version;
  answer.total_ms = ToMillis(MonotonicNanos() - call->begun_ns);
  if (observe_) observe_(call->invocation.function, answer);
  const bool throttled = answer.kind == Kind::kThrottled;
  if (throttled || answer.kind == Kind::kAnswered) {
    events_.Publish(throttled ? "throttled" : "invoked", [&] {
      return nlohmann::json{{"function", call->invocation.function},
                            {"version", call->version},
                            {"request_id", call->invocation.request_id},
                            {"function_error", answer.function_error},
                            {"total_ms", answer.total_ms}};
    });
  }
  call->done(std::move(answer));
}

std::optional<FunctionInvoker::Call> FunctionInvoker::Take(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(ticket);
  if (found == calls_.end()) return std::nullopt;
  std::optional<Call> call(std::move(found->second));
  calls_.erase(found);
  return call;
}

double FunctionInvoker::Random() {
  const std::lock_guard lock(mutex_);
  return std::uniform_real_distribution<double>(0, 1)(random_);
}

}  // namespace snapfaas::node
