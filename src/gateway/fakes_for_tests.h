// A node behind the gateway, for tests: an invoker that answers by a table, an acceptor of events, and a view of fixed
// values.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/invoker.h"
#include "node/node_view.h"

namespace snapfaas::gateway {

inline constexpr std::chrono::seconds kPatience{20};

// Functions that `answers` does not name are not found; "hang" is answered when it is cancelled.
class FakeInvoker : public node::Invoker {
 public:
  // Hears of answers, as of the node's FunctionInvoker.
  std::function<void(const std::string& function, const node::InvocationAnswer& answer)> observe;

  Ticket Invoke(node::Invocation invocation, std::function<void(node::InvocationAnswer)> done) override {
    std::unique_lock lock(mutex_);
    const Ticket ticket = ++tickets_;
    last_ = invocation;
    if (invocation.function == "hang") {
      hanging_[ticket] = std::move(done);
      changed_.notify_all();
      return ticket;
    }
    const auto answer = AnswerOf(invocation.function);
    lock.unlock();
    if (observe) observe(invocation.function, answer);
    done(answer);
    return ticket;
  }

  void Cancel(Ticket ticket) override {
    std::function<void(node::InvocationAnswer)> done;
    {
      const std::lock_guard lock(mutex_);
      const auto found = hanging_.find(ticket);
      if (found == hanging_.end()) return;
      done = std::move(found->second);
      hanging_.erase(found);
      ++cancelled_;
      changed_.notify_all();
    }
    node::InvocationAnswer answer;
    answer.kind = node::InvocationAnswer::Kind::kCancelled;
    done(answer);
  }

  node::InvocationCheck Check(const std::string& function, const std::string& qualifier) override {
    const std::lock_guard lock(mutex_);
    last_.function = function;
    last_.qualifier = qualifier;
    const auto answer = AnswerOf(function);
    return {answer.kind, answer.message};
  }

  void Set(const std::string& function, node::InvocationAnswer answer) {
    const std::lock_guard lock(mutex_);
    answers_[function] = std::move(answer);
  }

  node::Invocation last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  bool AwaitHanging() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [this] { return !hanging_.empty(); });
  }

  bool AwaitCancelled() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [this] { return cancelled_ > 0; });
  }

  // Answers all that hang.
  void Release(const node::InvocationAnswer& answer) {
    std::map<Ticket, std::function<void(node::InvocationAnswer)>> released;
    {
      const std::lock_guard lock(mutex_);
      released = std::exchange(hanging_, {});
    }
    for (const auto& [ticket, done] : released) done(answer);
  }

 private:
  node::InvocationAnswer AnswerOf(const std::string& function) {
    const auto found = answers_.find(function);
    if (found != answers_.end()) return found->second;
    node::InvocationAnswer missing;
    missing.kind = node::InvocationAnswer::Kind::kNotFound;
    return missing;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, node::InvocationAnswer> answers_;
  std::map<Ticket, std::function<void(node::InvocationAnswer)>> hanging_;
  node::Invocation last_;
  Ticket tickets_ = 0;
  size_t cancelled_ = 0;
};

class FakeEvents : public node::EventAcceptor {
 public:
  Status Accept(node::Invocation invocation) override {
    const std::lock_guard lock(mutex_);
    if (invocation.function == "missing") return Fail(ErrorCode::kNotFound, "no such function");
    if (invocation.function == "stopping") return Fail(ErrorCode::kUnavailable, "the node is about to stop");
    if (invocation.function == "full") return Fail(ErrorCode::kResourceExhausted, "the disk is full");
    accepted_.push_back(std::move(invocation));
    return {};
  }

  std::vector<node::Invocation> accepted() {
    const std::lock_guard lock(mutex_);
    return accepted_;
  }

 private:
  std::mutex mutex_;
  std::vector<node::Invocation> accepted_;
};

class FakeView : public node::NodeView {
 public:
  node::NodeInfo Info() override {
    node::NodeInfo info;
    info.state = "running";
    info.memory_budget_mib = 1024;
    info.vms_busy = 3;
    info.counts.evictions = 7;
    return info;
  }

  std::vector<node::VmInfo> Vms() override {
    node::VmInfo vm;
    vm.id = 5;
    vm.function = "hello";
    vm.version = "$LATEST";
    vm.state = "idle";
    vm.memory_mib = 128;
    return {vm};
  }

  Result<std::vector<node::SnapshotInfo>> Snapshots() override {
    if (is_broken) return Fail(ErrorCode::kUnavailable, "the store is being moved");
    node::SnapshotInfo base;
    base.runtime = "python3";
    node::SnapshotInfo function = base;
    function.function = "0123abcd";
    function.is_usable = false;
    function.problem = "made by another version";
    return std::vector{base, function};
  }

  Result<std::vector<node::RuntimeInfo>> Runtimes() override {
    return std::vector{node::RuntimeInfo{"python3", "Python 3.11", "6.1", {"python3.11", "python3.12"}}};
  }

  Result<LogPiece> ReadLog(const std::string& function, std::optional<uint64_t> from, uint64_t max_bytes) override {
    if (function != "hello") return Fail(ErrorCode::kNotFound, "no function '{}'", function);
    const std::string log = "a line\nanother \xff\n";
    const uint64_t begin = from.value_or(0);
    return LogPiece{log.substr(begin, max_bytes), begin + log.substr(begin, max_bytes).size()};
  }

  std::shared_ptr<void> Subscribe(EventSink sink) override {
    const std::lock_guard lock(mutex_);
    sink_ = std::move(sink);
    changed_.notify_all();
    return {this, [](void* view) { static_cast<FakeView*>(view)->Unsubscribe(); }};
  }

  bool AwaitSubscribed(bool subscribed) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [this, subscribed] { return bool{sink_} == subscribed; });
  }

  void Emit(const node::NodeEvent& event) {
    const std::lock_guard lock(mutex_);
    if (sink_) sink_(event);
  }

  bool is_broken = false;

 private:
  void Unsubscribe() {
    EventSink dropped;
    const std::lock_guard lock(mutex_);
    dropped = std::exchange(sink_, nullptr);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  EventSink sink_;
};

}  // namespace snapfaas::gateway
