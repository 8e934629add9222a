// EventDispatcher: works off the queue of asynchronous events that the registry keeps.
//
//   Accept ──> queue ──due──> Invoker ──┬─ answered ────────────> gone, and an event for the on-success destination
//                ^                      ├─ function error ─┬───> again after 1, 2, ... minutes
//                │                      │                  └───> gone, and an event for the on-failure destination
//                └──────postponed───────┴─ throttled, no microVM, the node stops
//
// An event is gone from the queue only when it was answered or given up: after a crash it is delivered again, so a
// function may see an event more than once, as on AWS. Retries, age and destinations are the function's
// event-invoke-config, or the options.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/result.h"
#include "node/function_invoker.h"
#include "node/invoker.h"
#include "registry/registry.h"

namespace snapfaas::node {

class EventDispatcher : public EventAcceptor {
 public:
  struct Options {
    size_t at_a_time = 16;
    uint32_t max_retries = 2;
    int64_t first_retry_ms = 60'000;  // twice as long before the next
    int64_t max_age_ms = 6 * 3'600'000;
    ArnParts arn;
  };

  // REQUIRES: registry and invoker outlive it; `log` takes a line for the node's log, from any thread.
  EventDispatcher(registry::Registry& registry, Invoker& invoker, Options options,
                  std::function<void(const std::string& line)> log);
  EventDispatcher(const EventDispatcher&) = delete;
  EventDispatcher& operator=(const EventDispatcher&) = delete;
  ~EventDispatcher() override { Stop(); }

  Status Accept(Invocation invocation) override;

  // Begins no more events from now on.
  void Pause();
  // Returns when those under way are answered; what is left stays in the queue. REQUIRES: the invoker still answers.
  void Stop();

 private:
  struct Finished {
    registry::Event event;
    InvocationAnswer answer;
  };

  void Run();
  // Each on the thread, without the lock.
  bool BeginDue(size_t room);  // false: the queue cannot be read
  void Begin(registry::Event event);
  void Settle(const Finished& finished);
  void GiveUpOrRetry(const registry::Event& event, const InvocationAnswer& answer,
                     const registry::EventInvokeConfig& config);
  void Finish(const registry::Event& event, const InvocationAnswer& answer, const std::string& destination,
              std::string_view condition);
  void Postpone(const registry::Event& event);
  bool IsTooOld(const registry::Event& event, const registry::EventInvokeConfig& config) const;
  registry::EventInvokeConfig ConfigOf(const registry::Event& event);
  std::string RecordFor(const registry::Event& event, const InvocationAnswer& answer, std::string_view condition) const;
  void Check(const Status& status, const registry::Event& event);
  int64_t NanosUntilNextDue();

  registry::Registry& registry_;
  Invoker& invoker_;
  const Options options_;
  const std::function<void(const std::string&)> log_;

  std::unordered_map<registry::EventId, int64_t> pauses_ms_;  // the last of each event that is postponed; the thread's

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Finished> finished_;
  size_t under_way_ = 0;
  bool due_changed_ = true;
  bool paused_ = false;
  bool stopped_ = false;

  std::once_flag stopping_;
  std::thread thread_;
};

}  // namespace snapfaas::node
