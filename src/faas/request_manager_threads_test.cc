// The same parts in real time: requests come, are cancelled and are answered on threads of their own.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "faas/controller.h"
#include "faas/request_manager.h"
#include "faas/thread_timekeeper.h"

namespace snapfaas::faas {
namespace {

constexpr int kThreads = 4;
constexpr int kRequests = 200;  // of each thread

// Answers half of its calls within the call, the others on another thread, late but for all.
class HostWithThreads : public VmHost {
 public:
  HostWithThreads() = default;
  HostWithThreads(const HostWithThreads&) = delete;
  HostWithThreads& operator=(const HostWithThreads&) = delete;
  ~HostWithThreads() override {
    for (auto& thread : threads_) thread.join();
  }

  void LaunchAndInvoke(VmId vm, const FunctionSpec&, SharedRequest request, std::function<void()> loaded,
                       AnswerDone done) override {
    loaded();
    Invoke(vm, std::move(request), std::move(done));
  }
  void Launch(VmId, const FunctionSpec&, StatusDone done) override {
    Call([done] { done({}); });
  }
  void Invoke(VmId, SharedRequest request, AnswerDone done) override {
    Call([request, done] {
      FunctionOutcome outcome;
      outcome.payload = request->event;
      done({std::move(outcome), true});
    });
  }
  void Reset(VmId, StatusDone done) override {
    Call([done] { done({}); });
  }
  void Destroy(VmId, std::function<void()> done) override { Call(std::move(done)); }

 private:
  // On the Timekeeper's thread only.
  void Call(std::function<void()> function) {
    if (++calls_ % 2 == 0 || threads_.size() > 100) {
      function();
    } else {
      threads_.emplace_back(std::move(function));
    }
  }

  size_t calls_ = 0;
  std::vector<std::thread> threads_;
};

TEST(RequestManagerThreadsTest, EachRequestIsAnsweredOnceWithItsOwnAnswer) {
  ThreadTimekeeper timekeeper;
  {
    HostWithThreads host;
    Controller controller(timekeeper, host, {.budget_mib = 600});
    RequestManager manager(timekeeper, controller, {});
    std::atomic<int> answered = 0;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> clients;
    clients.reserve(kThreads);
    for (int client = 0; client < kThreads; ++client) {
      clients.emplace_back([&, client] {
        for (int i = 0; i < kRequests; ++i) {
          FunctionSpec spec;
          spec.function = "f" + std::to_string(i % 7);
          spec.key = spec.function + "@1";
          spec.isolation = i % 2 == 0 ? Isolation::kReuse : Isolation::kReset;
          auto request = std::make_shared<FunctionRequest>();
          request->event = std::to_string(client) + "/" + std::to_string(i);
          const auto ticket = manager.Submit(spec, request, [&, request](const FunctionOutcome& outcome) {
            ++answered;
            if (outcome.kind == FunctionOutcome::Kind::kResult && outcome.payload != request->event) ++wrong;
          });
          if (i % 10 == 0) manager.Cancel(ticket);
        }
      });
    }
    for (auto& client : clients) client.join();
    std::promise<void> drained;
    manager.Drain(timekeeper.NowNanos() + 60'000'000'000, [&drained] { drained.set_value(); });
    drained.get_future().wait();
    timekeeper.Stop();
    EXPECT_EQ(answered, kThreads * kRequests);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(controller.budget().reserved(), 0u);
  }
}

}  // namespace
}  // namespace snapfaas::faas
