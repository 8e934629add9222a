// FunctionInvoker: from a function's name to its answer: looks the function up, has the Request Manager run it, and
// says what came of it in Lambda's words.
//
//   Invoke ──known──> Request Manager ──> done
//      │                ^    │ retired meanwhile
//      └─unknown──> look-up thread
//
// What the registry said is kept until it has another generation, so that an invocation costs no database query.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/result.h"
#include "faas/function_spec.h"
#include "faas/request_manager.h"
#include "node/event_hub.h"
#include "node/invoker.h"
#include "node/worker.h"
#include "registry/registry.h"
#include "registry/runtimes.h"

namespace snapfaas::node {

// What the Request Manager is to know of a version that is served; `vcpus` of each microVM. A microVM's memory comes in
// steps and is as much as its runtime needs, so it may get more than the function asks for. The key names all that a
// microVM's life depends on.
faas::FunctionSpec SpecOf(const registry::FunctionVersion& version, const registry::Deployed& deployed,
                          std::optional<uint32_t> reserved_concurrency, uint32_t vcpus,
                          const registry::Runtimes& runtimes);

// As in ARNs: "arn:aws:lambda:us-east-1:000000000000:function:name".
struct ArnParts {
  std::string region;
  std::string account;
};
std::string FunctionArn(const ArnParts& parts, const std::string& function, const std::string& qualifier);

class FunctionInvoker : public Invoker {
 public:
  struct Options {
    uint32_t vcpus = 1;
    ArnParts arn;
    registry::Runtimes runtimes = {};
  };

  // Hears of every answer, from any thread, before who asked does.
  using Observe = std::function<void(const std::string& function, const InvocationAnswer& answer)>;

  // REQUIRES: registry, requests and events outlive it. `observe` may be empty.
  FunctionInvoker(registry::Registry& registry, faas::RequestManager& requests, EventHub& events, Observe observe,
                  Options options);
  FunctionInvoker(const FunctionInvoker&) = delete;
  FunctionInvoker& operator=(const FunctionInvoker&) = delete;
  ~FunctionInvoker() override { Stop(); }

  Ticket Invoke(Invocation invocation, std::function<void(InvocationAnswer)> done) override;
  void Cancel(Ticket ticket) override;
  InvocationCheck Check(const std::string& function, const std::string& qualifier) override;

  // Ends the look-ups; what waits for one is answered with kUnavailable. What the Request Manager has is its business.
  void Stop();

 private:
  struct Call {
    Invocation invocation;
    std::function<void(InvocationAnswer)> done;
    int64_t begun_ns = 0;
    int tries = 0;  // how often it was submitted, or taken back
    bool is_cancelled = false;
    std::optional<faas::RequestManager::Ticket> submitted;
    std::string version;  // that runs
  };
  using Key = std::pair<std::string, std::string>;  // function and qualifier
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return std::hash<std::string>()(key.first) * 31 + std::hash<std::string>()(key.second);
    }
  };

  std::shared_ptr<const registry::Resolution> Known(const Key& key);
  void LookUp(Ticket ticket);
  void Submit(Ticket ticket, const registry::Resolution& resolution);
  void OnOutcome(Ticket ticket, faas::FunctionOutcome outcome);
  void Answer(Ticket ticket, InvocationAnswer answer);
  std::optional<Call> Take(Ticket ticket);
  double Random();

  registry::Registry& registry_;
  faas::RequestManager& requests_;
  EventHub& events_;
  const Observe observe_;
  const Options options_;

  std::mutex mutex_;  // guards what follows
  Ticket last_ticket_ = 0;
  bool stopped_ = false;
  std::unordered_map<Ticket, Call> calls_;
  uint64_t known_generation_ = 0;
  // Shared with those who submit just now.
  std::unordered_map<Key, std::shared_ptr<const registry::Resolution>, KeyHash> known_;
  std::mt19937_64 random_{std::random_device()()};

  Worker look_ups_;
};

}  // namespace snapfaas::node
