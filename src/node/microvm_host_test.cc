#include "node/microvm_host.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file_system.h"
#include "base/json.h"
#include "base/scratch_folder_for_tests.h"
#include "faas/fake_vmm_for_tests.h"

namespace snapfaas::node {
namespace {

using faas::FakeVmm;
using faas::FunctionOutcome;
using faas::StartKind;
using faas::VmHost;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const snapshot::WorkingSet kTouched{{{1, 2}}, {{5, 1}}};

// Has one function, "f", whose microVMs are made of nothing.
class FakeStore : public FunctionStore {
 public:
  Status Prepare(const PreparedFunction& /*function*/) override { return {}; }
  Status TakeFunctionSnapshot(const std::string& /*key*/) override { return {}; }
  bool HasFunctionSnapshot(const std::string& /*key*/) override { return is_function_snapshot; }
  void GiveUpFunctionSnapshot(const std::string& /*key*/, const Error& /*why*/) override {
    is_function_snapshot = false;
  }
  void Forget(const std::string& /*key*/) override {}
  Result<Launchable> Open(const std::string& key) override {
    if (key != "f") return Fail(ErrorCode::kNotFound, "the function {} is not prepared", key);
    Launchable launchable;
    launchable.images.mode = wire::RestoreMode::kMmap;
    launchable.is_function_snapshot = is_function_snapshot;
    if (wants_recording.exchange(false)) launchable.working_set = std::make_unique<Claim>(*this);
    return launchable;
  }
  std::vector<faas::ShellKind> ShellKinds() override { return {}; }
  Result<wire::PrimeCommand> OpenPrimeImages(const faas::ShellKind& /*kind*/) override {
    return Fail(ErrorCode::kNotFound, "nothing to prime with");
  }

  std::atomic<bool> is_function_snapshot = false;
  std::atomic<bool> wants_recording = false;
  std::promise<snapshot::WorkingSet> kept;

 private:
  class Claim : public WorkingSetClaim {
   public:
    explicit Claim(FakeStore& store) : store_(store) {}
    void Keep(const snapshot::WorkingSet& set) override { store_.kept.set_value(set); }

   private:
    FakeStore& store_;
  };
};

// Answers each request with what it was sent.
void Echo(FakeVmm& vmm) {
  while (auto frame = vmm.ReceiveFrame()) {
    if (frame->kind == "event") vmm.SendFrame("result", frame->payload);
  }
}

void RestoreAndEcho(FakeVmm& vmm) {
  if (vmm.RestoreUp()) Echo(vmm);
}

void RestoreAndHang(FakeVmm& vmm) {
  if (vmm.RestoreUp()) vmm.WaitForLauncherToClose();
}

class MicroVmHostTest : public ::testing::Test {
 protected:
  MicroVmHostTest() {
    options_.data_dir = folder_.path();
    options_.log_dir = folder_.path() / "logs";
    options_.launch_timeout_ns = faas::kTestPatience;
    spec_.key = "f";
    spec_.function = "hello";
    spec_.version = "$LATEST";
    spec_.timeout_ns = faas::kTestPatience;
  }

  void StartHost(faas::FakeSpawner::Script script) {
    auto host =
        MicroVmHost::Create(options_, std::make_unique<faas::FakeSpawner>(std::move(script)), [this](faas::Spawner&) {
          auto store = std::make_unique<FakeStore>();
          store_ = store.get();
          return store;
        });
    ASSERT_TRUE(host) << host.error().Message();
    host_ = std::move(*host);
  }

  static faas::SharedRequest Request(const std::string& id, const std::string& event = "{}") {
    return std::make_shared<faas::FunctionRequest>(
        faas::FunctionRequest{id, event, "arn:aws:lambda:local:0:function:hello", R"({"client":1})"});
  }

  // Begin what the names say; the answers come later.
  std::future<VmHost::Answer> BeginLaunchAndInvoke(faas::VmId vm, faas::SharedRequest request) {
    auto promise = std::make_shared<std::promise<VmHost::Answer>>();
    host_->LaunchAndInvoke(
        vm, spec_, std::move(request), [this] { ++loaded_; },
        [promise](VmHost::Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  std::future<VmHost::Answer> BeginInvoke(faas::VmId vm, faas::SharedRequest request) {
    auto promise = std::make_shared<std::promise<VmHost::Answer>>();
    host_->Invoke(vm, std::move(request), [promise](VmHost::Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  VmHost::Answer LaunchAndInvoke(faas::VmId vm, faas::SharedRequest request) {
    return BeginLaunchAndInvoke(vm, std::move(request)).get();
  }
  VmHost::Answer Invoke(faas::VmId vm, faas::SharedRequest request) {
    return BeginInvoke(vm, std::move(request)).get();
  }
  Status Launch(faas::VmId vm) {
    std::promise<Status> promise;
    host_->Launch(vm, spec_, [&promise](Status status) { promise.set_value(std::move(status)); });
    return promise.get_future().get();
  }
  Status Reset(faas::VmId vm) {
    std::promise<Status> promise;
    host_->Reset(vm, [&promise](Status status) { promise.set_value(std::move(status)); });
    return promise.get_future().get();
  }
  void Destroy(faas::VmId vm) {
    std::promise<void> promise;
    host_->Destroy(vm, [&promise] { promise.set_value(); });
    promise.get_future().get();
  }
  std::string Log() { return host_->ReadLog("hello", 0, 10_MiB)->text; }

  ScratchFolder folder_;
  MicroVmHost::Options options_;
  faas::FunctionSpec spec_;
  FakeStore* store_ = nullptr;
  std::atomic<int> loaded_ = 0;
  std::unique_ptr<MicroVmHost> host_;
};

TEST_F(MicroVmHostTest, LaunchesServesAndServesAgain) {
  StartHost(RestoreAndEcho);
  const auto first = LaunchAndInvoke(1, Request("r-1", "[1]"));
  EXPECT_EQ(first.outcome.kind, FunctionOutcome::Kind::kResult) << first.outcome.message;
  EXPECT_EQ(first.outcome.payload, "[1]");
  EXPECT_TRUE(first.is_usable);
  EXPECT_EQ(first.outcome.timings.start, StartKind::kRestored);
  EXPECT_GT(first.outcome.timings.restore, 0);
  const auto second = Invoke(1, Request("r-2", "[2]"));
  EXPECT_EQ(second.outcome.payload, "[2]");
  EXPECT_TRUE(second.is_usable);
  EXPECT_EQ(second.outcome.timings.start, StartKind::kIdle);
  EXPECT_EQ(second.outcome.timings.restore, 0);
  EXPECT_GT(second.outcome.timings.run, 0);
  Destroy(1);
  EXPECT_EQ(Invoke(1, Request("r-3")).outcome.kind, FunctionOutcome::Kind::kCrashed);
}

TEST_F(MicroVmHostTest, TheFunctionIsToldItsContext) {
  std::promise<std::string> context;
  StartHost([&context](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    const auto frame = vmm.ReceiveFrame();
    context.set_value(frame && frame->kind == "context" ? frame->payload : "");
    Echo(vmm);
  });
  spec_.size.memory_mib = 256;
  (void)LaunchAndInvoke(1, Request("r-1"));
  const auto told = nlohmann::json::parse(context.get_future().get());
  EXPECT_EQ(told["requestId"], "r-1");
  EXPECT_EQ(told["functionName"], "hello");
  EXPECT_EQ(told["functionVersion"], "$LATEST");
  EXPECT_EQ(told["invokedFunctionArn"], "arn:aws:lambda:local:0:function:hello");
  EXPECT_EQ(told["memoryLimitInMB"], "256");
  EXPECT_EQ(told["clientContext"]["client"], 1);
  EXPECT_GT(told["deadlineMs"], RealtimeNanos() / 1'000'000);
}

TEST_F(MicroVmHostTest, WhatAFunctionPrintsIsInTheLogOfItsRequest) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    vmm.PrintOnLog("loading\n");
    while (auto frame = vmm.ReceiveFrame()) {
      if (frame->kind != "event") continue;
      vmm.PrintOnLog("got " + frame->payload + "\n");
      vmm.SendFrame("result", "0");
    }
  });
  store_->is_function_snapshot = true;
  const auto first = LaunchAndInvoke(1, Request("r-1", "1")).outcome.log_tail;
  const auto second = Invoke(1, Request("r-2", "2")).outcome.log_tail;
  EXPECT_THAT(first, AllOf(StartsWith("START RequestId: r-1 Version: $LATEST\nloading\ngot 1\nEND RequestId: r-1\n"),
                           HasSubstr("\tMemory Size: 128 MB\t"), HasSubstr("\tRestore Duration: ")));
  EXPECT_THAT(second, StartsWith("START RequestId: r-2 Version: $LATEST\ngot 2\nEND RequestId: r-2\n"));
  EXPECT_EQ(Log(), first + second);
}

TEST_F(MicroVmHostTest, AnExceptionIsAnAnswerAndTheMicroVmGoesOn) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("error", R"({"errorType":"ValueError"})");
    Echo(vmm);
  });
  const auto failed = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(failed.outcome.kind, FunctionOutcome::Kind::kError);
  EXPECT_EQ(failed.outcome.payload, R"({"errorType":"ValueError"})");
  EXPECT_TRUE(failed.is_usable);
  EXPECT_EQ(Invoke(1, Request("r-2", "7")).outcome.payload, "7");
}

TEST_F(MicroVmHostTest, TheLastErrorOfARuntimeThatEndsIsAnAnswerAndTheMicroVmIsDone) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("last-error", R"({"errorType":"OutOfMemoryError"})");
    Echo(vmm);
  });
  const auto failed = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(failed.outcome.kind, FunctionOutcome::Kind::kError);
  EXPECT_EQ(failed.outcome.payload, R"({"errorType":"OutOfMemoryError"})");
  EXPECT_FALSE(failed.is_usable);
  Destroy(1);
}

TEST_F(MicroVmHostTest, AFunctionThatDoesNotAnswerTimesOut) {
  StartHost(RestoreAndHang);
  spec_.timeout_ns = 20'000'000;
  const auto late = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(loaded_, 1);
  EXPECT_EQ(late.outcome.kind, FunctionOutcome::Kind::kTimedOut);
  EXPECT_EQ(late.outcome.message, "Task timed out after 0.02 seconds");
  EXPECT_FALSE(late.is_usable);
  EXPECT_THAT(late.outcome.log_tail, HasSubstr("Z r-1 Task timed out after 0.02 seconds\n\nEND RequestId: r-1\n"));
  Destroy(1);
}

TEST_F(MicroVmHostTest, AFunctionSnapshotThatTheVmmRefusesIsGivenUp) {
  StartHost([](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    vmm.Send(wire::FailedEvent{Error{ErrorCode::kCorrupt, 0, "the state of the vCPU is cut off"}});
    vmm.WaitForLauncherToClose();
  });
  store_->is_function_snapshot = true;
  const auto refused = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(refused.outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_THAT(refused.outcome.message, HasSubstr("the state of the vCPU is cut off"));
  EXPECT_FALSE(store_->is_function_snapshot);
}

TEST_F(MicroVmHostTest, AFunctionSnapshotIsKeptWhenTheVmmIsKilled) {
  StartHost([](FakeVmm& vmm) {
    vmm.SendShellReady();
    (void)vmm.ReceiveCommand();
  });
  store_->is_function_snapshot = true;
  EXPECT_EQ(LaunchAndInvoke(1, Request("r-1")).outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_TRUE(store_->is_function_snapshot);
}

TEST_F(MicroVmHostTest, AnIdleMicroVmThatHangsTimesOut) {
  StartHost(RestoreAndHang);
  ASSERT_TRUE(Launch(1));
  spec_.timeout_ns = 20'000'000;
  ASSERT_TRUE(Launch(2));
  EXPECT_EQ(Invoke(2, Request("r-1")).outcome.kind, FunctionOutcome::Kind::kTimedOut);
}

TEST_F(MicroVmHostTest, AMicroVmThatDiesHasCrashed) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    vmm.Send(wire::EndedEvent{wire::EndReason::kPowerOff, "the language bootstrap ended with status 3"});
  });
  const auto crashed = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(crashed.outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_THAT(crashed.outcome.message, HasSubstr("the language bootstrap ended with status 3"));
  EXPECT_FALSE(crashed.is_usable);
  EXPECT_THAT(crashed.outcome.log_tail, HasSubstr("\nRequestId: r-1 Error: Runtime exited without providing a reason"));
}

TEST_F(MicroVmHostTest, ARequestForAMicroVmThatHasEndedIsNotCountedAgainstTheFunction) {
  std::promise<void> ended;
  StartHost([&ended](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    while (auto frame = vmm.ReceiveFrame()) {
      if (frame->kind != "event") continue;
      vmm.SendFrame("result", "{}");
      break;
    }
    vmm.CloseControl();
    ended.set_value();
  });
  EXPECT_TRUE(LaunchAndInvoke(1, Request("r-1")).is_usable);
  ended.get_future().wait();
  const auto answer = Invoke(1, Request("r-2"));
  EXPECT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_THAT(answer.outcome.message, HasSubstr("ended while it waited"));
  EXPECT_EQ(host_->pid(1), 0);
}

TEST_F(MicroVmHostTest, AFunctionThatCannotBeLoadedSaysWhy) {
  const std::string report = R"({"errorType":"Runtime.ImportModuleError","errorMessage":"no module x"})";
  StartHost([&report](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    vmm.Send(wire::RestoredEvent{1, 2, MonotonicNanos()});
    vmm.SendFrame("init-error", report);
    vmm.WaitForLauncherToClose();
  });
  const auto answer = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kInitError);
  EXPECT_EQ(answer.outcome.payload, report);
  EXPECT_FALSE(answer.is_usable);
}

TEST_F(MicroVmHostTest, NothingIsLeftOfALaunchThatFailed) {
  // The host, and with it its waiting VMMs, outlives the test's own variables.
  const auto fails = std::make_shared<std::atomic<bool>>(true);
  StartHost([fails](FakeVmm& vmm) {
    if (!*fails) return RestoreAndEcho(vmm);
    vmm.SendShellReady();
    if (vmm.ReceiveCommand()) vmm.Send(wire::FailedEvent{{ErrorCode::kIncompatible, 0, "another CPU"}});
  });
  const auto failed = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(failed.outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_THAT(failed.outcome.message, HasSubstr("another CPU"));
  EXPECT_FALSE(Launch(1));
  *fails = false;
  // One of those that were to fail may be waiting still.
  while (!Launch(1)) {
  }
  EXPECT_TRUE(Invoke(1, Request("r-2")).is_usable);
}

TEST_F(MicroVmHostTest, AFunctionThatIsNotPreparedCannotBeLaunched) {
  StartHost(RestoreAndEcho);
  spec_.key = "g";
  const auto answer = LaunchAndInvoke(1, Request("r-1"));
  EXPECT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_EQ(answer.outcome.message, "the function g is not prepared");
  Destroy(1);
}

TEST_F(MicroVmHostTest, NoMoreMicroVmsThanThereMayBe) {
  options_.max_vms = 2;
  StartHost(RestoreAndEcho);
  EXPECT_TRUE(Launch(1));
  EXPECT_TRUE(Launch(2));
  EXPECT_EQ(LaunchAndInvoke(3, Request("r-1")).outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  Destroy(1);
  EXPECT_TRUE(Launch(3));
}

TEST_F(MicroVmHostTest, ASpareServesItsFirstRequestAsAnIdleOne) {
  StartHost(RestoreAndEcho);
  ASSERT_TRUE(Launch(1));
  const auto answer = Invoke(1, Request("r-1", "5"));
  EXPECT_EQ(answer.outcome.payload, "5");
  EXPECT_EQ(answer.outcome.timings.start, StartKind::kIdle);
}

TEST_F(MicroVmHostTest, AResetMicroVmServesWithALogOfItsOwn) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "0");
    if (!vmm.ReceiveCommand() || vmm.resets != 1) return;
    vmm.SendRestored();
    vmm.PrintOnLog("born again\n");
    Echo(vmm);
  });
  ASSERT_TRUE(LaunchAndInvoke(1, Request("r-1")).is_usable);
  ASSERT_TRUE(Reset(1));
  const auto answer = Invoke(1, Request("r-2", "6"));
  EXPECT_EQ(answer.outcome.payload, "6");
  EXPECT_EQ(answer.outcome.timings.start, StartKind::kReset);
  EXPECT_THAT(answer.outcome.log_tail, HasSubstr("\tInit Duration: "));
  EXPECT_THAT(Log(), HasSubstr("born again\n"));
  EXPECT_EQ(Invoke(1, Request("r-3")).outcome.timings.start, StartKind::kIdle);
}

TEST_F(MicroVmHostTest, DestroyEndsWhatIsUnderWay) {
  std::promise<void> runs;
  StartHost([&runs](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    runs.set_value();
    vmm.WaitForLauncherToClose();
  });
  auto answer = BeginLaunchAndInvoke(1, Request("r-1"));
  runs.get_future().get();
  Destroy(1);
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  const auto ended = answer.get();
  EXPECT_EQ(ended.outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_EQ(ended.outcome.message, "the microVM was ended");
  EXPECT_FALSE(ended.is_usable);
  EXPECT_EQ(host_->pid(1), 0);
}

TEST_F(MicroVmHostTest, DestroyOfAMicroVmThatIsNotThereIsDoneAtOnce) {
  StartHost(RestoreAndEcho);
  Destroy(17);
  ASSERT_TRUE(Launch(1));
  Destroy(1);
  Destroy(1);
}

TEST_F(MicroVmHostTest, TheFirstAnswerHasTheWorkingSetRecorded) {
  StartHost([](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "0");
    if (!vmm.ReceiveCommand() || !vmm.record) return;
    const auto bytes = snapshot::EncodeWorkingSet(kTouched, 0);
    (void)WriteAll(vmm.record->file.get(), std::string(bytes.begin(), bytes.end()));
    vmm.Send(wire::WorkingSetRecordedEvent{2, 1});
    Echo(vmm);
  });
  store_->wants_recording = true;
  ASSERT_TRUE(LaunchAndInvoke(1, Request("r-1")).is_usable);
  EXPECT_EQ(Invoke(1, Request("r-2", "8")).outcome.payload, "8");
  EXPECT_EQ(store_->kept.get_future().get(), kTouched);
}

TEST_F(MicroVmHostTest, ManyAtOnce) {
  StartHost(RestoreAndEcho);
  std::vector<std::future<VmHost::Answer>> answers;
  for (faas::VmId vm = 1; vm <= 20; ++vm) answers.push_back(BeginLaunchAndInvoke(vm, Request("r", std::to_string(vm))));
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto answer = answers[i].get();
    EXPECT_EQ(answer.outcome.payload, std::to_string(i + 1)) << answer.outcome.message;
  }
}

TEST_F(MicroVmHostTest, StopEndsEverythingAndEveryCallIsAnswered) {
  std::promise<void> runs;
  StartHost([&runs, first = std::make_shared<std::atomic<bool>>(true)](FakeVmm& vmm) {
    if (!vmm.RestoreUp()) return;
    (void)vmm.ReceiveFrame();
    if (first->exchange(false)) runs.set_value();
    vmm.WaitForLauncherToClose();
  });
  auto busy = BeginLaunchAndInvoke(1, Request("r-1"));
  runs.get_future().get();
  ASSERT_TRUE(Launch(2));
  host_->Stop();
  ASSERT_EQ(busy.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(busy.get().outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_EQ(LaunchAndInvoke(3, Request("r-2")).outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  EXPECT_EQ(Invoke(2, Request("r-3")).outcome.kind, FunctionOutcome::Kind::kCrashed);
  Destroy(1);
}

}  // namespace
}  // namespace snapfaas::node
