// RequestManager (the poster's): takes requests, asks the Controller for a microVM, sends the request in, hands the
// answer over and gives the microVM back.
//
//   Submit ──> waiting ──Allocate──> bound ──memory is there──> running ──answer, time limit──> done
//                 │ throttle,           │ the same                 │ cancel: its microVM ends
//                 │ cancel, retire      │
//                 └─────────────────────┴──────────────────────────┴──> done
//
// Each key (code and configuration) has a queue, first come, first served. Where several queues wait for a microVM:
//   1. a function that got none for `patience_ns` goes first, the one that waits longest before the others, and takes
//      what it needs from those that have more;
//   2. then an idle microVM goes to a request of its own key;
//   3. then the functions take turns in having new ones made.
// So nobody starves, and microVMs are not ended and made anew for each request when there are more functions than room.
//
// Reserved concurrency is Lambda's: a request that comes while as many of its function, all versions together, wait or
// run is throttled at once. The number is that of the function's latest request.
//
// The VmHost enforces the time limit. Should it fail to, this one's own timer ends the microVM and answers kTimedOut.
//
// Each `done` is called exactly once, on the Timekeeper's thread; it must not block.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "faas/controller.h"
#include "faas/function_spec.h"
#include "faas/timekeeper.h"

namespace snapfaas::faas {

class RequestManager {
 public:
  using Ticket = uint64_t;
  using Done = std::function<void(FunctionOutcome outcome)>;

  struct Options {
    size_t max_queue = 1000;                         // requests that wait, of one function
    size_t max_queue_total = 10'000;                 // of all functions
    uint64_t max_queue_bytes = uint64_t{256} << 20;  // what their events may take, all together
    int64_t max_wait_ns = 30'000'000'000;            // for a microVM: then kQueueTimeout
    int64_t patience_ns = 1'000'000'000;             // see above
    // This one's own time limit: these two and the function's.
    int64_t launch_allowance_ns = 60'000'000'000;
    int64_t grace_ns = 2'000'000'000;
  };

  struct Counts {
    size_t queued = 0;   // now; those whose memory is being made free too
    size_t running = 0;  // now
    uint64_t submitted = 0;
    uint64_t answered = 0;  // by the function, errors of it included
    uint64_t errors = 0;    // of these
    uint64_t throttled_reserved_concurrency = 0;
    uint64_t throttled_queue_full = 0;
    uint64_t throttled_queue_timeout = 0;
    uint64_t timed_out = 0;
    uint64_t crashed = 0;
    uint64_t launch_failed = 0;
    uint64_t cancelled = 0;
    uint64_t retired = 0;
    uint64_t refused = 0;  // the node takes no more work
  };

  // REQUIRES: Timekeeper and Controller outlive it. Destroy it on the thread, or when the thread has ended; requests
  // that are left then are not answered.
  RequestManager(Timekeeper& timekeeper, Controller& controller, const Options& options);
  RequestManager(const RequestManager&) = delete;
  RequestManager& operator=(const RequestManager&) = delete;
  ~RequestManager();

  // From any thread; none blocks.
  Ticket Submit(FunctionSpec spec, SharedRequest request, Done done);
  // Nobody waits for the answer: the request leaves its queue, or its microVM ends. `done` still comes, with kCancelled
  // where the answer was not there yet.
  void Cancel(Ticket ticket);
  // The microVMs of this key, or of all keys of this function, are of no more use: requests that wait for one end with
  // kRetired, those that run go on.
  void RetireKey(std::string key);
  void RetireFunction(std::string function);
  // From now on requests end with kStopping, from `deadline_ns` on those that wait or run too. When all are answered
  // and all microVMs are gone, `done` is called. REQUIRES: the first call.
  void Drain(int64_t deadline_ns, std::function<void()> done);

  // On the thread only.
  Counts counts() const;

 private:
  struct Queue;
  enum class Stage { kWaiting, kBound, kRunning };

  // Of all versions together.
  struct Function {
    std::optional<uint32_t> reserved;
    size_t waiting = 0;
    size_t running = 0;  // bound too, and until nothing is left of it where the microVM had to be ended

    bool IsFull(size_t count) const { return reserved && count >= *reserved; }
  };

  struct Record {
    FunctionSpec spec;
    SharedRequest request;
    Done done;
    int64_t submitted_ns = 0;
    int64_t started_ns = 0;
    Stage stage = Stage::kWaiting;
    Function* function = nullptr;
    Queue* queue = nullptr;             // while it waits
    std::list<Ticket>::iterator place;  // in it
    std::optional<Timekeeper::TimerId> timer;
    std::optional<Controller::Lease> lease;
  };

  // In the order in which the queues were served last, those that were never by their beginning.
  using Turn = std::pair<int64_t, uint64_t>;
  struct Queue {
    std::string key;
    std::list<Ticket> waiting;  // never empty
    Turn turn;
  };

  void Accept(Ticket ticket, Record record);
  std::optional<FunctionOutcome> Refuse(const FunctionSpec& spec);
  void Enqueue(Ticket ticket, Record& record);
  bool IsOverfull(const Record& record) const;
  void Dequeue(Record& record);

  void Pump();
  // One pass over the queues that `selects` accepts.
  void ServeQueues(Controller::Effort effort, const std::function<bool(const Queue& queue)>& selects);
  bool ServeHead(Queue& queue, Controller::Effort effort);
  void Bind(Ticket ticket, Record& record, Controller::Lease lease);
  void OnStarted(Ticket ticket);
  void OnAnswer(Ticket ticket, VmHost::Answer answer);
  void OnWaitedTooLong(Ticket ticket);
  void OnOverdue(Ticket ticket);

  // Ends a request that has no answer of its microVM; that one is ended.
  void Finish(Ticket ticket, FunctionOutcome outcome);
  void Retire(const std::function<bool(const FunctionSpec& spec)>& matches);
  void EndRun(const std::string& function);
  void ForgetFunctionIfUnused(const std::string& function);
  void Answer(Record& record, FunctionOutcome outcome);
  void Count(const FunctionOutcome& outcome);
  void FinishAll();
  void CheckDrained();
  void SetTimer(Ticket ticket, Record& record, int64_t at_ns, void (RequestManager::*then)(Ticket ticket));
  void SetWaitTimer(Ticket ticket, Record& record);
  void CancelTimer(Record& record);
  // On the thread, unless this object is gone by then.
  void Post(std::function<void()> function);

  Timekeeper& timekeeper_;
  Controller& controller_;
  const Options options_;

  std::unordered_map<Ticket, Record> records_;
  std::unordered_map<std::string, Function> functions_;  // with a request
  std::unordered_map<std::string, Queue> queues_;        // by key
  std::map<Turn, Queue*> turns_;
  uint64_t last_turn_ = 0;
  size_t waiting_ = 0;
  uint64_t waiting_bytes_ = 0;
  Counts counts_;

  bool is_draining_ = false;
  std::function<void()> drained_;
  std::optional<Timekeeper::TimerId> drain_timer_;

  std::atomic<Ticket> last_ticket_ = 0;
  const std::shared_ptr<char> alive_ = std::make_shared<char>();  // for what is posted: is it too late?
};

}  // namespace snapfaas::faas
