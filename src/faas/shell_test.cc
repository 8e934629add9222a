#include "faas/shell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <future>

#include "base/clock.h"
#include "faas/fake_vmm_for_tests.h"

namespace snapfaas::faas {
namespace {

using ::testing::HasSubstr;

TEST(Shell, WaitsUntilItsVmmEnds) {
  std::promise<void> end;
  std::promise<void> ended;
  FakeSpawner spawner([&end, &ended](FakeVmm& vmm) {
    vmm.SendShellReady();
    end.get_future().wait();
    vmm.CloseControl();
    ended.set_value();
  });
  auto shell = Shell::Start(spawner, VmSize{256, 2}, Soon());
  ASSERT_TRUE(shell) << shell.error().Message();
  EXPECT_EQ(shell->size(), (VmSize{256, 2}));
  EXPECT_GT(shell->ready_ns(), 0);
  EXPECT_TRUE(shell->Waits());
  end.set_value();
  ended.get_future().wait();
  EXPECT_FALSE(shell->Waits());
}

TEST(Shell, OneThatSaidItFailedDoesNotWait) {
  std::promise<void> said;
  FakeSpawner spawner([&said](FakeVmm& vmm) {
    vmm.SendShellReady();
    vmm.Send(wire::FailedEvent{Error{ErrorCode::kSystem, 0, "epoll failed"}});
    said.set_value();
    vmm.WaitForLauncherToClose();
  });
  auto shell = Shell::Start(spawner, VmSize(), Soon());
  ASSERT_TRUE(shell) << shell.error().Message();
  said.get_future().wait();
  EXPECT_FALSE(shell->Waits());
}

TEST(Shell, StartIsGivenUpOnDemand) {
  FakeSpawner spawner([](FakeVmm& vmm) { vmm.WaitForLauncherToClose(); });
  const UniqueFd give_up(::eventfd(1, EFD_CLOEXEC));
  auto shell = Shell::Start(spawner, VmSize(), Soon(), give_up.get());
  ASSERT_FALSE(shell);
  EXPECT_EQ(shell.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(shell.error().Message(), HasSubstr("given up"));
}

TEST(Shell, AnotherFirstWordIsRefused) {
  FakeSpawner spawner([](FakeVmm& vmm) {
    vmm.SendMark(wire::Doorbell::kKernelUp);
    vmm.WaitForLauncherToClose();
  });
  auto shell = Shell::Start(spawner, VmSize(), Soon());
  ASSERT_FALSE(shell);
  EXPECT_EQ(shell.error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace snapfaas::faas
