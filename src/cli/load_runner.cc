#include "cli/load_runner.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "cli/node_client.h"

namespace snapfaas::cli {
namespace {

namespace asio = boost::asio;

constexpr size_t kMaxConnections = 16'384;
constexpr size_t kOtherFiles = 64;  // that this process has open
constexpr size_t kMaxProblemKinds = 16;
constexpr char kOtherProblems[] = "others";
constexpr double kAskSeconds = 5;

// As many as the system lets this process have.
size_t MaxConnections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kOtherFiles;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, kMaxConnections + kOtherFiles);
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = wanted;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  const size_t files = std::min<rlim_t>(limit.rlim_cur, kMaxConnections + kOtherFiles);
  return files > 2 * kOtherFiles ? files - kOtherFiles : kOtherFiles;
}

HttpCall InvocationOf(const std::string& function, const std::string& event, double timeout_seconds) {
  HttpCall call;
  call.method = "POST";
  call.target = FunctionPath(function, "/invocations");
  call.headers.emplace_back("Content-Type", "application/json");
  call.body = event;
  call.timeout_seconds = timeout_seconds;
  return call;
}

double SecondsSince(int64_t start_ns) { return static_cast<double>(MonotonicNanos() - start_ns) / 1e9; }

// What its coroutines throw: the system has no memory left, or the like.
Error ErrorOf(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return {ErrorCode::kSystem, 0, fmt::format("the load generator failed: {}", error.what())};
  }
}

// All coroutines end by themselves, since each of their waits has an end: so nothing is left when the context stops.
class Runner {
 public:
  Runner(const Workload& workload, const std::vector<Arrival>& plan, const LoadOptions& options)
      : workload_(workload), plan_(plan), options_(options) {}

  Result<LoadRun> Run(const LoadTarget& target) {
    auto connections = LoadConnections::Create(context_.get_executor(), target, MaxConnections());
    if (!connections) return Forward(connections.error());
    connections_ = *std::move(connections);
    run_.samples.resize(plan_.size());
    asio::co_spawn(context_, Drive(), [this](const std::exception_ptr& failure) {
      NoteFailure(failure);
      has_ended_ = true;
      watch_timer_.cancel();
    });
    context_.run();
    if (failure_) return Forward(*failure_);
    return std::move(run_);
  }

 private:
  asio::awaitable<void> Drive() {
    auto before = co_await AskNode();
    if (!before) {
      failure_ = before.error();
      co_return;
    }
    run_.states.push_back(*std::move(before));
    start_ns_ = MonotonicNanos();
    asio::co_spawn(context_, Watch(), [this](const std::exception_ptr& failure) { NoteFailure(failure); });
    asio::steady_timer timer(context_);
    for (size_t i = 0; i < plan_.size(); ++i) {
      const int64_t wait_ns = start_ns_ + plan_[i].at_ns - MonotonicNanos();
      if (wait_ns > 0) {
        timer.expires_after(std::chrono::nanoseconds(wait_ns));
        co_await timer.async_wait(asio::use_awaitable);
      } else {
        // Answers have their turn also when there is always something to send.
        co_await asio::post(context_, asio::use_awaitable);
      }
      ++sent_;
      asio::co_spawn(context_, SendOne(i), [this](const std::exception_ptr& failure) {
        NoteFailure(failure);
        if (++answered_ == plan_.size()) all_answered_.cancel();
      });
    }
    if (answered_ < plan_.size()) {
      boost::system::error_code cancelled;
      co_await all_answered_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    }
    run_.seconds = SecondsSince(start_ns_);
    auto after = co_await AskNode();
    if (after) run_.after = *std::move(after);
  }

  asio::awaitable<void> SendOne(size_t i) {
    const Arrival& arrival = plan_[i];
    const LoadFunction& function = workload_.functions[arrival.function];
    // Named: g++ 12 destroys such temporaries of a co_await twice.
    HttpCall call = InvocationOf(function.name, function.event, options_.timeout_seconds);
    const TimedReply timed = co_await connections_->Send(std::move(call));
    const int64_t due_ns = start_ns_ + arrival.at_ns;
    LoadSample& sample = run_.samples[i];
    sample.function = arrival.function;
    sample.user = arrival.user;
    sample.due_ns = arrival.at_ns;
    sample.lag_ms = ToMillis(timed.sent_ns - due_ns);
    sample.latency_ms = ToMillis(timed.done_ns - due_ns);
    sample.response_ms = ToMillis(timed.done_ns - timed.sent_ns);
    if (timed.reply) Fill(sample, *timed.reply);
    const std::string problem = timed.reply ? ProblemOf(*timed.reply) : timed.reply.error().Message();
    if (!problem.empty()) NoteProblem(problem);
  }

  // Looks at the node until the run has ended.
  asio::awaitable<void> Watch() {
    while (!has_ended_) {
      boost::system::error_code cancelled;
      watch_timer_.expires_after(std::chrono::microseconds(static_cast<int64_t>(options_.look_every_seconds * 1e6)));
      co_await watch_timer_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
      if (has_ended_) co_return;
      if (options_.progress) options_.progress({SecondsSince(start_ns_), sent_, answered_});
      // One that does not answer now may do so later.
      auto state = co_await AskNode();
      if (state) run_.states.push_back(*std::move(state));
    }
  }

  asio::awaitable<Result<NodeState>> AskNode() {
    HttpCall call;
    call.target = "/v1/node";
    call.timeout_seconds = kAskSeconds;
    const TimedReply timed = co_await connections_->Send(std::move(call));
    if (!timed.reply) co_return Forward(timed.reply.error());
    if (timed.reply->status != 200) {
      co_return Fail(ErrorCode::kIncompatible, "what answers there is no SnapFaaS node: /v1/node gives status {}",
                     timed.reply->status);
    }
    auto state = ParseNodeState(timed.reply->body);
    if (state && start_ns_ != 0) state->at_seconds = SecondsSince(start_ns_);
    co_return state;
  }

  void NoteProblem(const std::string& problem) {
    const bool is_known = run_.problems.count(problem) != 0 || run_.problems.size() < kMaxProblemKinds;
    ++run_.problems[is_known ? problem : kOtherProblems];
  }

  void NoteFailure(const std::exception_ptr& failure) {
    if (failure != nullptr && !failure_) failure_ = ErrorOf(failure);
  }

  const Workload& workload_;
  const std::vector<Arrival>& plan_;
  const LoadOptions& options_;
  asio::io_context context_{1};
  std::unique_ptr<LoadConnections> connections_;
  asio::steady_timer watch_timer_{context_};
  asio::steady_timer all_answered_{context_, asio::steady_timer::time_point::max()};
  int64_t start_ns_ = 0;
  uint64_t sent_ = 0;
  uint64_t answered_ = 0;
  bool has_ended_ = false;
  std::optional<Error> failure_;
  LoadRun run_;
};

using Samples = std::vector<LoadSample>;

asio::awaitable<Result<Samples>> CallInSequence(LoadConnections& connections, const SequentialCalls& calls) {
  Samples samples;
  samples.reserve(calls.runs);
  const int64_t start_ns = MonotonicNanos();
  for (uint32_t i = 0; i < calls.warm_up + calls.runs; ++i) {
    HttpCall call = InvocationOf(calls.function, calls.event, calls.timeout_seconds);
    const TimedReply timed = co_await connections.Send(std::move(call));
    if (!timed.reply) co_return Forward(timed.reply.error());
    const std::string problem = ProblemOf(*timed.reply);
    if (timed.reply->status != 200 || !problem.empty()) {
      co_return Fail(ErrorCode::kGuestError, "call {} of {} did not succeed: {}", i + 1, calls.function, problem);
    }
    if (i < calls.warm_up) continue;
    LoadSample sample;
    sample.due_ns = timed.sent_ns - start_ns;
    sample.latency_ms = sample.response_ms = ToMillis(timed.done_ns - timed.sent_ns);
    Fill(sample, *timed.reply);
    samples.push_back(sample);
  }
  co_return samples;
}

}  // namespace

Result<LoadRun> RunLoad(const LoadTarget& target, const Workload& workload, const std::vector<Arrival>& plan,
                        const LoadOptions& options) {
  return Runner(workload, plan, options).Run(target);
}

Result<Samples> RunSequentially(const LoadTarget& target, const SequentialCalls& calls) {
  asio::io_context context(1);
  auto connections = LoadConnections::Create(context.get_executor(), target, 1);
  if (!connections) return Forward(connections.error());
  Result<Samples> result;
  asio::co_spawn(context, CallInSequence(**connections, calls),
                 [&result](const std::exception_ptr& failure, Result<Samples> samples) {
                   result = failure == nullptr ? std::move(samples) : Forward(ErrorOf(failure));
                 });
  context.run();
  return result;
}

}  // namespace snapfaas::cli
