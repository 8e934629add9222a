#include "node/event_dispatcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/utc.h"

namespace snapfaas::node {
namespace {

using Kind = InvocationAnswer::Kind;

constexpr int64_t kFirstPauseMs = 1'000;
constexpr int64_t kLongestPauseMs = 300'000;
// However long nothing is due, the queue is looked at again.
constexpr int64_t kLongestWaitNs = 60'000 * kMilli;
constexpr int64_t kPauseAfterFailureNs = 1'000 * kMilli;

int64_t NowMs() { return RealtimeNanos() / kMilli; }

nlohmann::json ParsedOrText(const std::string& text) {
  auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? nlohmann::json(text) : parsed;
}

// The function and the qualifier of "arn:aws:lambda:<region>:<account>:function:<name>[:<qualifier>]".
std::pair<std::string, std::string> TargetOf(const std::string& arn) {
  constexpr std::string_view kMark = ":function:";
  const size_t mark = arn.find(kMark);
  if (mark == std::string::npos) return {};
  const std::string rest = arn.substr(mark + kMark.size());
  const size_t colon = rest.find(':');
  if (colon == std::string::npos) return {rest, ""};
  return {rest.substr(0, colon), rest.substr(colon + 1)};
}

}  // namespace

EventDispatcher::EventDispatcher(registry::Registry& registry, Invoker& invoker, Options options,
                                 std::function<void(const std::string& line)> log)
    : registry_(registry), invoker_(invoker), options_(std::move(options)), log_(std::move(log)) {
  thread_ = std::thread([this] { Run(); });
}

Status EventDispatcher::Accept(Invocation invocation) {
  {
    const std::lock_guard lock(mutex_);
    if (paused_) return Fail(ErrorCode::kUnavailable, "the node is about to stop");
  }
  auto resolution = registry_.Resolve(invocation.function, invocation.qualifier);
  if (!resolution) return Forward(resolution.error());
  auto added = registry_.AddEvent(
      {std::move(invocation.function), std::move(invocation.qualifier), std::move(invocation.request_id),
       std::move(invocation.event), std::move(invocation.client_context)},
      NowMs());
  if (!added) return Forward(added.error());
  {
    const std::lock_guard lock(mutex_);
    due_changed_ = true;
  }
  changed_.notify_all();
  return {};
}

void EventDispatcher::Pause() {
  const std::lock_guard lock(mutex_);
  paused_ = true;
}

void EventDispatcher::Stop() {
  std::call_once(stopping_, [this] {
    {
      const std::lock_guard lock(mutex_);
      paused_ = true;
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  });
}

void EventDispatcher::Run() {
  std::unique_lock lock(mutex_);
  int64_t wait_ns = 0;
  for (;;) {
    changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns), [this] {
      return !finished_.empty() || (stopped_ && under_way_ == 0) ||
             (due_changed_ && !paused_ && under_way_ < options_.at_a_time);
    });
    if (!finished_.empty()) {
      const Finished finished = std::move(finished_.front());
      finished_.pop_front();
      lock.unlock();
      Settle(finished);
      lock.lock();
      --under_way_;
      due_changed_ = true;
      wait_ns = 0;
      continue;
    }
    if (stopped_ && under_way_ == 0) return;
    if (paused_ || under_way_ >= options_.at_a_time) {
      wait_ns = kLongestWaitNs;
      continue;
    }
    due_changed_ = false;
    const size_t room = options_.at_a_time - under_way_;
    lock.unlock();
    wait_ns = BeginDue(room) ? NanosUntilNextDue() : kPauseAfterFailureNs;
    lock.lock();
  }
}

bool EventDispatcher::BeginDue(size_t room) {
  auto due = registry_.ClaimDueEvents(NowMs(), room);
  if (!due) {
    log_(fmt::format("asynchronous events have to wait: {}", due.error().Message()));
    return false;
  }
  for (registry::Event& event : *due) Begin(std::move(event));
  return true;
}

void EventDispatcher::Begin(registry::Event event) {
  {
    const std::lock_guard lock(mutex_);
    ++under_way_;
  }
  const auto config = ConfigOf(event);
  if (IsTooOld(event, config)) {
    Finish(event, {}, config.on_failure, "EventAgeExceeded");
    const std::lock_guard lock(mutex_);
    --under_way_;
    return;
  }
  Invocation invocation{event.what.function, event.what.qualifier, event.what.request_id, event.what.payload,
                        event.what.client_context};
  // Shared, as a std::function has to be copyable.
  auto kept = std::make_shared<registry::Event>(std::move(event));
  invoker_.Invoke(std::move(invocation), [this, kept](InvocationAnswer answer) {
    const std::lock_guard lock(mutex_);
    finished_.push_back({std::move(*kept), std::move(answer)});
    changed_.notify_all();
  });
}

void EventDispatcher::Settle(const Finished& finished) {
  const auto& [event, answer] = finished;
  const auto config = ConfigOf(event);
  switch (answer.kind) {
    case Kind::kAnswered:
      if (answer.function_error.empty()) return Finish(event, answer, config.on_success, "Success");
      return GiveUpOrRetry(event, answer, config);
    case Kind::kNotFound:
      return Finish(event, answer, config.on_failure, "RetriesExhausted");
    case Kind::kNotReady:
    case Kind::kThrottled:
    case Kind::kUnavailable:
    case Kind::kCancelled:
      return Postpone(event);
  }
}

void EventDispatcher::GiveUpOrRetry(const registry::Event& event, const InvocationAnswer& answer,
                                    const registry::EventInvokeConfig& config) {
  if (event.attempts >= config.max_retry_attempts.value_or(options_.max_retries)) {
    return Finish(event, answer, config.on_failure, "RetriesExhausted");
  }
  const int64_t pause_ms = options_.first_retry_ms << event.attempts;
  Check(registry_.RetryEventAt(event.id, NowMs() + pause_ms), event);
}

void EventDispatcher::Finish(const registry::Event& event, const InvocationAnswer& answer,
                             const std::string& destination, std::string_view condition) {
  pauses_ms_.erase(event.id);
  const auto [function, qualifier] = TargetOf(destination);
  if (function.empty()) return Check(registry_.EventDone(event.id), event);
  const registry::NewEvent follow_up{function, qualifier, event.what.request_id, RecordFor(event, answer, condition),
                                     ""};
  auto done = registry_.EventDone(event.id, follow_up, NowMs());
  if (done) return;
  // The destination may be gone, which must not keep the event.
  log_(fmt::format("event {} of {}: its destination {} takes nothing: {}", event.what.request_id, event.what.function,
                   destination, done.error().Message()));
  Check(registry_.EventDone(event.id), event);
}

void EventDispatcher::Postpone(const registry::Event& event) {
  int64_t& pause_ms = pauses_ms_[event.id];
  pause_ms = pause_ms == 0 ? kFirstPauseMs : std::min(2 * pause_ms, kLongestPauseMs);
  Check(registry_.PostponeEvent(event.id, NowMs() + pause_ms), event);
}

bool EventDispatcher::IsTooOld(const registry::Event& event, const registry::EventInvokeConfig& config) const {
  const int64_t max_ms = config.max_event_age_s ? int64_t{*config.max_event_age_s} * 1000 : options_.max_age_ms;
  return NowMs() - event.accepted_unix_ms > max_ms;
}

registry::EventInvokeConfig EventDispatcher::ConfigOf(const registry::Event& event) {
  const std::string& qualifier = event.what.qualifier;
  auto config = registry_.GetEventInvokeConfig(event.what.function,
                                               qualifier.empty() ? std::string(registry::kLatest) : qualifier);
  return config ? *config : registry::EventInvokeConfig();
}

// As AWS Lambda documents the record of an invocation for a destination.
std::string EventDispatcher::RecordFor(const registry::Event& event, const InvocationAnswer& answer,
                                       std::string_view condition) const {
  const bool was_tried = answer.kind == Kind::kAnswered && !answer.executed_version.empty();
  const std::string& qualifier = event.what.qualifier;
  nlohmann::ordered_json record;
  record["version"] = "1.0";
  record["timestamp"] = FormatUtc(NowMs());
  record["requestContext"] = {{"requestId", event.what.request_id},
                              {"functionArn", FunctionArn(options_.arn, event.what.function,
                                                          qualifier.empty() ? registry::kLatest : qualifier)},
                              {"condition", condition},
                              {"approximateInvokeCount", event.attempts + (was_tried ? 1 : 0)}};
  record["requestPayload"] = ParsedOrText(event.what.payload);
  if (was_tried) {
    nlohmann::ordered_json context = {{"statusCode", 200}, {"executedVersion", answer.executed_version}};
    if (!answer.function_error.empty()) context["functionError"] = answer.function_error;
    record["responseContext"] = std::move(context);
    record["responsePayload"] = ParsedOrText(answer.payload);
  }
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void EventDispatcher::Check(const Status& status, const registry::Event& event) {
  if (status) return;
  // It stays claimed until the node starts again; then it is delivered once more.
  log_(fmt::format("event {} of {}: {}", event.what.request_id, event.what.function, status.error().Message()));
}

int64_t EventDispatcher::NanosUntilNextDue() {
  auto due = registry_.NextEventDue();
  if (!due || !*due) return kLongestWaitNs;
  return std::clamp<int64_t>((**due - NowMs()) * kMilli, 0, kLongestWaitNs);
}

}  // namespace snapfaas::node
