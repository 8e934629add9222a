#include "faas/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <utility>

#include "base/clock.h"
#include "faas/fake_vmm_for_tests.h"

namespace snapfaas::faas {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using wire::Doorbell;

int64_t VerySoon() { return MonotonicNanos() + 200'000'000; }

struct Outcome {
  Status started;
  Result<Response> answer = Fail(ErrorCode::kUnavailable, "not invoked");
};

// Boots a microVM played by `script`, and sends it one request.
Outcome BootAndInvoke(FakeSpawner::Script script, int64_t deadline_ns) {
  FakeSpawner spawner(std::move(script));
  auto vm = MicroVm::Launch(spawner, VmSize(), deadline_ns);
  if (!vm) return {Forward(vm.error())};
  Outcome outcome;
  outcome.started = vm->Boot(BootImages(), FunctionFiles(), deadline_ns);
  if (outcome.started) outcome.answer = vm->Invoke({"{}", ""}, deadline_ns);
  return outcome;
}

std::string BootError(FakeSpawner::Script script, int64_t deadline_ns) {
  auto outcome = BootAndInvoke(std::move(script), deadline_ns);
  return outcome.started ? "" : outcome.started.error().Message();
}

std::string InvokeError(FakeSpawner::Script script, int64_t deadline_ns) {
  auto outcome = BootAndInvoke(std::move(script), deadline_ns);
  EXPECT_TRUE(outcome.started) << outcome.started.error().Message();
  return outcome.answer ? "" : outcome.answer.error().Message();
}

TEST(MicroVm, TwoRequestsGetTheirAnswers) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    for (int answered = 0; answered < 2;) {
      auto frame = vmm.ReceiveFrame();
      if (!frame) return;
      if (frame->kind != "event") continue;
      vmm.SendFrame("result", "got " + frame->payload);
      ++answered;
    }
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize{256, 2}, Soon());
  ASSERT_TRUE(vm) << vm.error().Message();
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  EXPECT_THAT(spawner.sizes(), ElementsAre(VmSize{256, 2}));
  for (const std::string event : {"1", "2"}) {
    auto answer = vm->Invoke({event, R"({"requestId":"r"})"}, Soon());
    ASSERT_TRUE(answer) << answer.error().Message();
    EXPECT_EQ(answer->kind, Response::Kind::kResult);
    EXPECT_EQ(answer->payload, "got " + event);
  }
}

TEST(MicroVm, ContextGoesBeforeItsEvent) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    auto context = vmm.ReceiveFrame();
    auto event = vmm.ReceiveFrame();
    if (context && event) vmm.SendFrame("result", context->kind + context->payload + event->kind + event->payload);
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  auto answer = vm->Invoke({"[]", "{}"}, Soon());
  ASSERT_TRUE(answer) << answer.error().Message();
  EXPECT_EQ(answer->payload, "context{}event[]");
}

TEST(MicroVm, ExceptionIsAnAnswerAndTheVmGoesOn) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("error", R"({"errorType":"KeyError"})");
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "2");
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  auto failed = vm->Invoke({"1", ""}, Soon());
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->kind, Response::Kind::kError);
  auto good = vm->Invoke({"2", ""}, Soon());
  ASSERT_TRUE(good);
  EXPECT_EQ(good->payload, "2");
}

TEST(MicroVm, TimeLineBeginsWhenTheVmWasAskedForHoweverOldItsShellIs) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    const int64_t now = MonotonicNanos();
    vmm.Send(wire::RestoredEvent{now, now, now});
    vmm.SendMark(Doorbell::kMounted);
    vmm.SendMark(Doorbell::kReady);
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "0");
    vmm.WaitForLauncherToClose();
  });
  auto shell = Shell::Start(spawner, VmSize(), Soon());
  ASSERT_TRUE(shell) << shell.error().Message();
  const int64_t ready = shell->ready_ns();
  const int64_t asked = MonotonicNanos();
  auto vm = MicroVm::Create(std::move(*shell), asked);
  ASSERT_TRUE(vm) << vm.error().Message();
  ASSERT_TRUE(vm->Restore(RestoreImages(), FunctionFiles(), Soon()));
  ASSERT_TRUE(vm->Invoke({"1", ""}, Soon()));
  EXPECT_EQ(vm->timeline().launched, asked);
  EXPECT_EQ(vm->timeline().shell_ready, ready);
  EXPECT_LE(ready, asked);
  EXPECT_TRUE(BreakDownRestore(vm->timeline()));
}

TEST(MicroVm, StampsMakeABootBreakdown) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "0");
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  ASSERT_TRUE(vm->Invoke({"1", ""}, Soon()));
  EXPECT_TRUE(BreakDownBoot(vm->timeline()));
  EXPECT_FALSE(BreakDownRestore(vm->timeline()));
}

TEST(MicroVm, RestorePassesModeAndStampsPhases) {
  std::atomic<bool> copied = false;
  FakeSpawner spawner([&copied](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand() || !vmm.restore) return;
    copied = vmm.restore->mode == wire::RestoreMode::kCopy;
    const int64_t now = MonotonicNanos();
    vmm.Send(wire::RestoredEvent{now, now + 1, now + 2});
    vmm.Send(wire::MarkEvent{Doorbell::kMounted, 0, now + 3});
    vmm.Send(wire::MarkEvent{Doorbell::kReady, 0, now + 4});
    (void)vmm.ReceiveFrame();
    vmm.SendFrame("result", "0");
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  RestoreImages images;
  images.mode = wire::RestoreMode::kCopy;
  ASSERT_TRUE(vm->Restore(std::move(images), FunctionFiles(), Soon()));
  ASSERT_TRUE(vm->Invoke({"1", ""}, Soon()));
  EXPECT_TRUE(copied);
  const auto breakdown = BreakDownRestore(vm->timeline());
  ASSERT_TRUE(breakdown);
  EXPECT_NEAR(breakdown->ready, breakdown->vmm + breakdown->memory + breakdown->identity + breakdown->mount, 1e-6);
  EXPECT_NEAR(breakdown->response, breakdown->ready + breakdown->load + breakdown->request, 1e-6);
}

TEST(MicroVm, DeathBeforeTheShellIsReadySaysHow) {
  FakeSpawner spawner([](FakeVmm&) {});
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(vm.error().Message(), HasSubstr("snapfaas-vmm was killed by signal 9 (Killed)"));
}

TEST(MicroVm, FailureOfTheShellIsPassedOnAsItIs) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.Send(wire::FailedEvent{Error{ErrorCode::kUnavailable, 0, "/dev/kvm is missing"}});
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().Message(), "/dev/kvm is missing");
}

TEST(MicroVm, FailureSaidBeforeTheCommandIsTakenIsHeard) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.SendShellReady();
    vmm.Send(wire::FailedEvent{Error{ErrorCode::kResourceExhausted, 0, "no memory is left"}});
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  auto booted = vm->Boot(BootImages(), FunctionFiles(), Soon());
  ASSERT_FALSE(booted);
  EXPECT_EQ(booted.error().Message(), "no memory is left");
}

TEST(MicroVm, FailedEventAfterTheCommandIsTheError) {
  EXPECT_EQ(BootError(
                [](FakeVmm& vmm) {
                  vmm.SendShellReady();
                  (void)vmm.ReceiveCommand();
                  vmm.Send(wire::FailedEvent{Error{ErrorCode::kCorrupt, 0, "the kernel is not a bzImage"}});
                },
                Soon()),
            "the kernel is not a bzImage");
}

TEST(MicroVm, SilentShellTimesOut) {
  FakeSpawner spawner([](FakeVmm& vmm) { vmm.WaitForLauncherToClose(); });
  auto vm = MicroVm::Launch(spawner, VmSize(), VerySoon());
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, ErrorCode::kTimedOut);
}

TEST(MicroVm, HangBeforeReadyNamesTheLastMarkAndTheConsole) {
  const auto error = BootError(
      [](FakeVmm& vmm) {
        vmm.SendShellReady();
        if (!vmm.ReceiveCommand()) return;
        vmm.PrintOnConsole("first line\n[    0.5] waiting for \x1b[31mGodot\r\n\n");
        vmm.SendMark(Doorbell::kKernelUp);
        vmm.SendMark(Doorbell::kAgentUp);
        vmm.WaitForLauncherToClose();
      },
      VerySoon());
  EXPECT_THAT(error, AllOf(HasSubstr("did not become ready (126) within"), HasSubstr("last mark was: 2, agent up"),
                           HasSubstr("ends with \"waiting for [31mGodot\"")));
}

TEST(MicroVm, HangBeforeTheSnapshotPointSaysSo) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    vmm.SendMark(Doorbell::kKernelUp);
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), VerySoon());
  ASSERT_TRUE(vm);
  auto taken = vm->BootToSnapshot(BootImages(), UniqueFd(), UniqueFd(), VerySoon());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kTimedOut);
  EXPECT_THAT(taken.error().Message(), AllOf(HasSubstr("snapshot point (124) within"), HasSubstr("1, kernel up")));
}

TEST(MicroVm, SnapshotTakenIsReturned) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    vmm.Send(wire::SnapshotTakenEvent{4096, 100});
    vmm.Send(wire::EndedEvent{wire::EndReason::kStopped, ""});
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  auto taken = vm->BootToSnapshot(BootImages(), UniqueFd(), UniqueFd(), Soon());
  ASSERT_TRUE(taken) << taken.error().Message();
  EXPECT_EQ(taken->stored_memory_bytes, 4096u);
}

TEST(MicroVm, PanicIsQuoted) {
  EXPECT_EQ(BootError(
                [](FakeVmm& vmm) {
                  vmm.SendShellReady();
                  if (!vmm.ReceiveCommand()) return;
                  vmm.PrintOnConsole("[    0.4] Kernel panic - not syncing: VFS: no root\r\n[    0.5] CPU: 0\r\n");
                  vmm.Send(wire::EndedEvent{wire::EndReason::kReset, ""});
                },
                Soon()),
            "the guest kernel panicked: VFS: no root");
}

TEST(MicroVm, PowerOffBeforeReadyIsAnError) {
  EXPECT_THAT(BootError(
                  [](FakeVmm& vmm) {
                    vmm.SendShellReady();
                    if (!vmm.ReceiveCommand()) return;
                    vmm.Send(wire::EndedEvent{wire::EndReason::kPowerOff, ""});
                  },
                  Soon()),
              HasSubstr("the guest switched itself off"));
}

// How an invocation ends whose guest prints this and switches itself off.
std::string MessageOfCrash(std::string_view console) {
  return InvokeError(
      [console](FakeVmm& vmm) {
        vmm.BootUp();
        if (!vmm.ReceiveFrame()) return;
        vmm.PrintOnConsole(console);
        vmm.Send(wire::EndedEvent{wire::EndReason::kPowerOff, ""});
      },
      Soon());
}

TEST(MicroVm, EndOfTheRuntimeIsToldAsTheAgentSaysIt) {
  EXPECT_EQ(MessageOfCrash("snapfaas-agent: Runtime exited with error: exit status 1\r\n[ 2.3] reboot: Power down\r\n"),
            "Runtime exited with error: exit status 1");
}

TEST(MicroVm, EndOfTheMachineWithoutAWordHasNoReason) {
  EXPECT_THAT(MessageOfCrash(""), StartsWith("Runtime exited without providing a reason"));
}

TEST(MicroVm, InitErrorNamesTypeAndMessage) {
  EXPECT_EQ(BootError(
                [](FakeVmm& vmm) {
                  vmm.SendShellReady();
                  if (!vmm.ReceiveCommand()) return;
                  vmm.SendFrame("init-error", R"({"errorType":"ImportError","errorMessage":"no module x"})");
                  vmm.WaitForLauncherToClose();
                },
                Soon()),
            "the function cannot be loaded: ImportError: no module x");
}

TEST(MicroVm, InitErrorThatIsNotJsonIsStillOneMessage) {
  EXPECT_EQ(BootError(
                [](FakeVmm& vmm) {
                  vmm.SendShellReady();
                  if (!vmm.ReceiveCommand()) return;
                  vmm.SendFrame("init-error", "\xff{");
                  vmm.WaitForLauncherToClose();
                },
                Soon()),
            "the function cannot be loaded: it did not say why");
}

TEST(MicroVm, MalformedFrameBeforeReadyIsAGuestError) {
  EXPECT_THAT(BootError(
                  [](FakeVmm& vmm) {
                    vmm.SendShellReady();
                    if (!vmm.ReceiveCommand()) return;
                    vmm.SendChannelBytes("NO FRAME\n");
                    vmm.WaitForLauncherToClose();
                  },
                  Soon()),
              HasSubstr("the guest broke the request channel"));
}

TEST(MicroVm, MalformedAnswerIsAGuestError) {
  EXPECT_THAT(InvokeError(
                  [](FakeVmm& vmm) {
                    vmm.BootUp();
                    (void)vmm.ReceiveFrame();
                    vmm.SendChannelBytes("result -1\n");
                    vmm.WaitForLauncherToClose();
                  },
                  Soon()),
              HasSubstr("the guest broke the request channel"));
}

TEST(MicroVm, UnknownAnswerIsAGuestError) {
  EXPECT_THAT(InvokeError(
                  [](FakeVmm& vmm) {
                    vmm.BootUp();
                    (void)vmm.ReceiveFrame();
                    vmm.SendFrame("surprise", "");
                    vmm.WaitForLauncherToClose();
                  },
                  Soon()),
              HasSubstr("unknown frame 'surprise'"));
}

TEST(MicroVm, MalformedEventIsAnError) {
  FakeSpawner spawner([](FakeVmm& vmm) { vmm.SendRaw("\x63"); });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, ErrorCode::kCorrupt);
}

TEST(MicroVm, DeathWhileAFunctionRunsSaysHow) {
  EXPECT_THAT(InvokeError(
                  [](FakeVmm& vmm) {
                    vmm.BootUp();
                    (void)vmm.ReceiveFrame();
                  },
                  Soon()),
              HasSubstr("snapfaas-vmm was killed by signal 9 (Killed)"));
}

TEST(MicroVm, AnswerSentJustBeforeDeathCounts) {
  auto outcome = BootAndInvoke(
      [](FakeVmm& vmm) {
        vmm.BootUp();
        (void)vmm.ReceiveFrame();
        vmm.SendFrame("result", "7");
      },
      Soon());
  ASSERT_TRUE(outcome.answer) << outcome.answer.error().Message();
  EXPECT_EQ(outcome.answer->payload, "7");
}

TEST(MicroVm, FunctionThatNeverAnswersTimesOut) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  auto answer = vm->Invoke({"1", ""}, VerySoon());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kTimedOut);
  EXPECT_THAT(answer.error().Message(), HasSubstr("the function did not answer within"));
}

// What waits for a restored microVM's first answer, given time once it is loaded.
Result<Response> RestoreAndInvoke(FakeSpawner::Script script, int64_t answer_timeout_ns, int& notified) {
  FakeSpawner spawner(std::move(script));
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  if (!vm) return Forward(vm.error());
  OnceLoaded once_loaded{answer_timeout_ns, [&notified] { ++notified; }};
  return vm->RestoreAndInvoke(RestoreImages(), FunctionFiles(), {"{}", ""}, Soon(), once_loaded);
}

TEST(MicroVm, OnceLoadedTheFunctionHasItsOwnTime) {
  int notified = 0;
  const auto late = RestoreAndInvoke(
      [](FakeVmm& vmm) {
        if (!vmm.RestoreUp()) return;
        vmm.WaitForLauncherToClose();
      },
      1'000'000, notified);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimedOut);
  EXPECT_THAT(late.error().Message(), HasSubstr("the function did not answer within"));
  EXPECT_EQ(notified, 1);
  const auto in_time = RestoreAndInvoke(
      [](FakeVmm& vmm) {
        if (!vmm.RestoreUp()) return;
        (void)vmm.ReceiveFrame();
        vmm.SendFrame("result", "7");
        vmm.WaitForLauncherToClose();
      },
      kTestPatience, notified);
  ASSERT_TRUE(in_time) << in_time.error().Message();
  EXPECT_EQ(in_time->payload, "7");
}

TEST(MicroVm, BeforeItIsLoadedTheFunctionsTimeDoesNotCount) {
  int notified = 0;
  const auto answer = RestoreAndInvoke(
      [](FakeVmm& vmm) {
        vmm.SendShellReady();
        if (!vmm.ReceiveCommand()) return;
        (void)vmm.ReceiveFrame();
        vmm.SendFrame("init-error", R"({"errorType":"SyntaxError"})");
        vmm.WaitForLauncherToClose();
      },
      0, notified);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kGuestError);
  EXPECT_EQ(notified, 0);
}

TEST(MicroVm, ReportOfAFunctionThatCannotBeLoadedIsKept) {
  const std::string report = R"({"errorType":"SyntaxError","stackTrace":["line 1"]})";
  FakeSpawner spawner([&report](FakeVmm& vmm) {
    vmm.SendShellReady();
    if (!vmm.ReceiveCommand()) return;
    vmm.SendFrame("init-error", report);
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  EXPECT_EQ(vm->init_error(), "");
  EXPECT_FALSE(vm->Restore(RestoreImages(), FunctionFiles(), Soon()));
  EXPECT_EQ(vm->init_error(), report);
}

TEST(MicroVm, SecondStartIsRefused) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.BootUp();
    vmm.WaitForLauncherToClose();
  });
  auto vm = MicroVm::Launch(spawner, VmSize(), Soon());
  ASSERT_TRUE(vm);
  ASSERT_TRUE(vm->Boot(BootImages(), FunctionFiles(), Soon()));
  auto again = vm->Boot(BootImages(), FunctionFiles(), Soon());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
}

TEST(MicroVm, WrongSizesAreRefusedBeforeAnythingStarts) {
  FakeSpawner spawner([](FakeVmm&) {});
  for (const VmSize size :
       {VmSize{0, 1}, VmSize{127, 1}, VmSize{200, 1}, VmSize{3200, 1}, VmSize{128, 0}, VmSize{128, 9}}) {
    auto vm = MicroVm::Launch(spawner, size, Soon());
    ASSERT_FALSE(vm);
    EXPECT_EQ(vm.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace snapfaas::faas
