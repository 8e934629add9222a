#include "faas/request_manager.h"

#include <vector>

#include "base/clock.h"

namespace snapfaas::faas {
namespace {

using Kind = FunctionOutcome::Kind;
using Throttle = FunctionOutcome::Throttle;
using Effort = Controller::Effort;

FunctionOutcome Ended(Kind kind, std::string message) {
  FunctionOutcome outcome;
  outcome.kind = kind;
  outcome.message = std::move(message);
  return outcome;
}

FunctionOutcome Throttled(Throttle throttle, std::string message) {
  FunctionOutcome outcome = Ended(Kind::kThrottled, std::move(message));
  outcome.throttle = throttle;
  return outcome;
}

FunctionOutcome Stopping() { return Ended(Kind::kStopping, "the node is about to stop"); }

double ToSeconds(int64_t nanos) { return ToMillis(nanos) / 1000; }

}  // namespace

RequestManager::RequestManager(Timekeeper& timekeeper, Controller& controller, const Options& options)
    : timekeeper_(timekeeper), controller_(controller), options_(options) {
  controller_.SetOnCapacity([this] { Pump(); });
}

RequestManager::~RequestManager() {
  controller_.SetOnCapacity(nullptr);
  for (auto& [ticket, record] : records_) CancelTimer(record);
  if (drain_timer_) timekeeper_.Cancel(*drain_timer_);
}

// ---- From any thread

RequestManager::Ticket RequestManager::Submit(FunctionSpec spec, SharedRequest request, Done done) {
  const Ticket ticket = ++last_ticket_;
  // Shared: what is posted must be copyable, but a Record is not.
  auto record = std::make_shared<Record>();
  record->spec = std::move(spec);
  record->request = std::move(request);
  record->done = std::move(done);
  record->submitted_ns = timekeeper_.NowNanos();
  Post([this, ticket, record = std::move(record)] { Accept(ticket, std::move(*record)); });
  return ticket;
}

void RequestManager::Cancel(Ticket ticket) {
  Post([this, ticket] { Finish(ticket, Ended(Kind::kCancelled, "cancelled by who asked")); });
}

void RequestManager::RetireKey(std::string key) {
  Post([this, key = std::move(key)] {
    Retire([&key](const FunctionSpec& spec) { return spec.key == key; });
    controller_.RetireKey(key);
  });
}

void RequestManager::RetireFunction(std::string function) {
  Post([this, function = std::move(function)] {
    Retire([&function](const FunctionSpec& spec) { return spec.function == function; });
    controller_.RetireFunction(function);
  });
}

void RequestManager::Drain(int64_t deadline_ns, std::function<void()> done) {
  Post([this, deadline_ns, done = std::move(done)]() mutable {
    is_draining_ = true;
    drained_ = std::move(done);
    drain_timer_ = timekeeper_.At(deadline_ns, [this] {
      drain_timer_.reset();
      FinishAll();
    });
    CheckDrained();
  });
}

// ---- Coming in

void RequestManager::Accept(Ticket ticket, Record record) {
  ++counts_.submitted;
  if (auto refusal = Refuse(record.spec)) {
    Answer(record, std::move(*refusal));
    return;
  }
  controller_.NoteArrival(record.spec);
  Record& kept = records_.emplace(ticket, std::move(record)).first->second;
  Enqueue(ticket, kept);
  // Behind others there is nothing to be had that these did not get.
  const bool is_head = kept.queue->waiting.size() == 1;
  if (is_head && ServeHead(*kept.queue, Effort::kMakeRoom)) return;
  if (IsOverfull(kept)) {
    Finish(ticket,
           Throttled(Throttle::kQueueFull,
                     fmt::format("too many requests wait for a microVM ({} of function {}, {} in all, of {} MiB)",
                                 kept.function->waiting - 1, kept.spec.function, waiting_ - 1, waiting_bytes_ >> 20)));
    return;
  }
  SetWaitTimer(ticket, kept);
}

std::optional<FunctionOutcome> RequestManager::Refuse(const FunctionSpec& spec) {
  if (is_draining_) return Stopping();
  const auto known = functions_.find(spec.function);
  size_t present = 0;
  if (known != functions_.end()) {
    known->second.reserved = spec.reserved_concurrency;
    present = known->second.waiting + known->second.running;
  }
  if (spec.reserved_concurrency && present >= *spec.reserved_concurrency) {
    return Throttled(Throttle::kReservedConcurrency,
                     fmt::format("function {} has {} requests in progress, and its reserved concurrency is {}",
                                 spec.function, present, *spec.reserved_concurrency));
  }
  if (const auto fits = controller_.CheckFits(spec); !fits) return Ended(Kind::kLaunchFailed, fits.error().Message());
  return std::nullopt;
}

void RequestManager::Enqueue(Ticket ticket, Record& record) {
  record.function = &functions_[record.spec.function];
  record.function->reserved = record.spec.reserved_concurrency;
  ++record.function->waiting;
  ++waiting_;
  waiting_bytes_ += record.request->event.size();
  Queue& queue = queues_[record.spec.key];
  if (queue.waiting.empty()) {
    queue.key = record.spec.key;
    queue.turn = Turn(timekeeper_.NowNanos(), ++last_turn_);
    turns_.emplace(queue.turn, &queue);
  }
  record.queue = &queue;
  record.place = queue.waiting.insert(queue.waiting.end(), ticket);
}

bool RequestManager::IsOverfull(const Record& record) const {
  return record.function->waiting > options_.max_queue || waiting_ > options_.max_queue_total ||
         waiting_bytes_ > options_.max_queue_bytes;
}

void RequestManager::Dequeue(Record& record) {
  Queue& queue = *std::exchange(record.queue, nullptr);
  queue.waiting.erase(record.place);
  --record.function->waiting;
  --waiting_;
  waiting_bytes_ -= record.request->event.size();
  if (!queue.waiting.empty()) return;
  turns_.erase(queue.turn);
  queues_.erase(queues_.find(queue.key));
}

// ---- To a microVM

void RequestManager::Pump() {
  const int64_t starved = timekeeper_.NowNanos() - options_.patience_ns;
  ServeQueues(Effort::kInsist, [starved](const Queue& queue) { return queue.turn.first <= starved; });
  ServeQueues(Effort::kIdleOnly, [](const Queue&) { return true; });
  ServeQueues(Effort::kMakeRoom, [](const Queue&) { return true; });
}

void RequestManager::ServeQueues(Effort effort, const std::function<bool(const Queue& queue)>& selects) {
  for (auto turn = turns_.begin(); turn != turns_.end();) {
    Queue& queue = *turn->second;
    // What is served goes to the end, and is met there again; its entry here is gone then.
    const Turn before = turn->first;
    if (!selects(queue)) {
      ++turn;
      continue;
    }
    ServeHead(queue, effort);
    turn = turns_.upper_bound(before);
  }
}

bool RequestManager::ServeHead(Queue& queue, Effort effort) {
  const Ticket ticket = queue.waiting.front();
  Record& record = records_.at(ticket);
  // It may have become less since the request came.
  if (record.function->IsFull(record.function->running)) return false;
  auto lease = controller_.Allocate(record.spec, effort);
  if (!lease) return false;
  turns_.erase(queue.turn);
  queue.turn = Turn(timekeeper_.NowNanos(), ++last_turn_);
  turns_.emplace(queue.turn, &queue);
  Dequeue(record);  // the last use of the queue: it may be gone
  Bind(ticket, record, std::move(*lease));
  return true;
}

void RequestManager::Bind(Ticket ticket, Record& record, Controller::Lease lease) {
  record.stage = Stage::kBound;
  ++record.function->running;
  record.lease.emplace(std::move(lease));
  record.lease->Invoke(
      record.request, [this, ticket] { OnStarted(ticket); },
      [this, ticket](VmHost::Answer answer) { OnAnswer(ticket, std::move(answer)); });
  if (record.stage == Stage::kBound && !record.timer) SetWaitTimer(ticket, record);
}

void RequestManager::OnStarted(Ticket ticket) {
  Record& record = records_.at(ticket);
  record.stage = Stage::kRunning;
  record.started_ns = timekeeper_.NowNanos();
  ++counts_.running;
  SetTimer(ticket, record,
           record.started_ns + options_.launch_allowance_ns + record.spec.timeout_ns + options_.grace_ns,
           &RequestManager::OnOverdue);
}

void RequestManager::OnAnswer(Ticket ticket, VmHost::Answer answer) {
  auto node = records_.extract(ticket);
  Record& record = node.mapped();
  CancelTimer(record);
  --counts_.running;
  answer.outcome.timings.start = record.lease->start();
  answer.outcome.timings.queued = ToMillis(record.started_ns - record.submitted_ns);
  // Who asked comes first, a reset after that.
  Answer(record, std::move(answer.outcome));
  controller_.Free(std::move(*record.lease),
                   answer.is_usable ? Controller::Usability::kUsable : Controller::Usability::kUnusable);
  EndRun(record.spec.function);
  CheckDrained();
}

void RequestManager::OnWaitedTooLong(Ticket ticket) {
  Finish(ticket, Throttled(Throttle::kQueueTimeout,
                           fmt::format("no microVM was free for {} s", ToSeconds(options_.max_wait_ns))));
}

void RequestManager::OnOverdue(Ticket ticket) {
  const Record& record = records_.at(ticket);
  const double seconds = ToSeconds(timekeeper_.NowNanos() - record.started_ns);
  Finish(ticket, Ended(Kind::kTimedOut, fmt::format("the microVM of function {} gave no answer for {} s, and was ended",
                                                    record.spec.function, seconds)));
}

// ---- Ending

void RequestManager::Finish(Ticket ticket, FunctionOutcome outcome) {
  auto node = records_.extract(ticket);
  if (node.empty()) return;
  Record& record = node.mapped();
  CancelTimer(record);
  const int64_t now = timekeeper_.NowNanos();
  outcome.timings.queued = ToMillis((record.stage == Stage::kRunning ? record.started_ns : now) - record.submitted_ns);
  if (record.stage == Stage::kWaiting) {
    Dequeue(record);
    ForgetFunctionIfUnused(record.spec.function);
  } else {
    if (record.stage == Stage::kRunning) --counts_.running;
    // Until nothing is left of it the function runs, and counts as running.
    record.lease->Abandon([this, alive = std::weak_ptr(alive_), function = record.spec.function] {
      if (!alive.expired()) EndRun(function);
    });
  }
  Answer(record, std::move(outcome));
  CheckDrained();
}

void RequestManager::Retire(const std::function<bool(const FunctionSpec& spec)>& matches) {
  std::vector<Ticket> ended;  // not while the records are walked through
  for (const auto& [ticket, record] : records_) {
    if (record.stage != Stage::kRunning && matches(record.spec)) ended.push_back(ticket);
  }
  for (const Ticket ticket : ended) {
    Finish(ticket, Ended(Kind::kRetired, "the function was replaced or removed while the request waited"));
  }
}

void RequestManager::EndRun(const std::string& name) {
  Function& function = functions_.at(name);
  --function.running;
  // A request that only its reserved concurrency held back; what waits for a microVM hears from the Controller.
  if (function.reserved && function.waiting > 0) Pump();
  ForgetFunctionIfUnused(name);
}

void RequestManager::ForgetFunctionIfUnused(const std::string& name) {
  const auto found = functions_.find(name);
  if (found->second.waiting == 0 && found->second.running == 0) functions_.erase(found);
}

void RequestManager::Answer(Record& record, FunctionOutcome outcome) {
  Count(outcome);
  record.done(std::move(outcome));
}

void RequestManager::Count(const FunctionOutcome& outcome) {
  switch (outcome.kind) {
    case Kind::kError:
    case Kind::kInitError:
      ++counts_.errors;
      [[fallthrough]];
    case Kind::kResult:
      ++counts_.answered;
      return;
    case Kind::kTimedOut:
      ++counts_.timed_out;
      return;
    case Kind::kCrashed:
      ++counts_.crashed;
      return;
    case Kind::kLaunchFailed:
      ++counts_.launch_failed;
      return;
    case Kind::kCancelled:
      ++counts_.cancelled;
      return;
    case Kind::kRetired:
      ++counts_.retired;
      return;
    case Kind::kStopping:
      ++counts_.refused;
      return;
    case Kind::kThrottled:
      break;
  }
  if (outcome.throttle == Throttle::kReservedConcurrency) ++counts_.throttled_reserved_concurrency;
  if (outcome.throttle == Throttle::kQueueFull) ++counts_.throttled_queue_full;
  if (outcome.throttle == Throttle::kQueueTimeout) ++counts_.throttled_queue_timeout;
}

void RequestManager::FinishAll() {
  std::vector<Ticket> left;
  for (const auto& [ticket, record] : records_) left.push_back(ticket);
  for (const Ticket ticket : left) Finish(ticket, Stopping());
}

void RequestManager::CheckDrained() {
  if (!is_draining_ || !records_.empty() || !drained_) return;
  if (drain_timer_) timekeeper_.Cancel(*drain_timer_);
  drain_timer_.reset();
  controller_.Drain(std::exchange(drained_, nullptr));
}

// ---- Tools

RequestManager::Counts RequestManager::counts() const {
  Counts counts = counts_;
  counts.queued = records_.size() - counts_.running;
  return counts;
}

void RequestManager::SetTimer(Ticket ticket, Record& record, int64_t at_ns,
                              void (RequestManager::*then)(Ticket ticket)) {
  CancelTimer(record);
  record.timer = timekeeper_.At(at_ns, [this, ticket, then] {
    records_.at(ticket).timer.reset();
    (this->*then)(ticket);
  });
}

void RequestManager::SetWaitTimer(Ticket ticket, Record& record) {
  SetTimer(ticket, record, record.submitted_ns + options_.max_wait_ns, &RequestManager::OnWaitedTooLong);
}

void RequestManager::CancelTimer(Record& record) {
  if (record.timer) timekeeper_.Cancel(*record.timer);
  record.timer.reset();
}

void RequestManager::Post(std::function<void()> function) {
  timekeeper_.Post([alive = std::weak_ptr(alive_), function = std::move(function)] {
    if (!alive.expired()) function();
  });
}

}  // namespace snapfaas::faas
