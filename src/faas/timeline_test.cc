#include "faas/timeline.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace snapfaas::faas {
namespace {

Timeline Booted() {
  Timeline t;
  t.launched = 100 * kMilli;
  t.shell_ready = 101 * kMilli;
  t.command_sent = 102 * kMilli;
  t.kernel_up = 112 * kMilli;
  t.agent_up = 142 * kMilli;
  t.runtime_up = 242 * kMilli;
  t.snapshot_point = 243 * kMilli;
  t.mounted = 245 * kMilli;
  t.ready = 292 * kMilli;
  t.request_sent = 300 * kMilli;
  t.response_received = 305 * kMilli;
  return t;
}

Timeline Restored() {
  Timeline t;
  t.launched = 100 * kMilli;
  t.command_sent = 101 * kMilli;
  t.begun = 102 * kMilli;
  t.memory_done = 103 * kMilli;
  t.state_done = 104 * kMilli;
  t.identified = 108 * kMilli;
  t.mounted = 110 * kMilli;
  t.ready = 130 * kMilli;
  t.request_sent = 131 * kMilli;
  t.response_received = 133 * kMilli;
  return t;
}

TEST(Timeline, BootPhasesFollowEachOther) {
  const auto b = BreakDownBoot(Booted());
  ASSERT_TRUE(b);
  EXPECT_DOUBLE_EQ(b->vmm, 2);
  EXPECT_DOUBLE_EQ(b->kernel, 10);
  EXPECT_DOUBLE_EQ(b->init, 30);
  EXPECT_DOUBLE_EQ(b->runtime, 100);
  EXPECT_DOUBLE_EQ(b->load, 50);
  EXPECT_DOUBLE_EQ(b->request, 5);
  EXPECT_DOUBLE_EQ(b->ready, 142);
  EXPECT_DOUBLE_EQ(b->response, 197);
}

TEST(Timeline, RestorePhasesFollowEachOther) {
  const auto b = BreakDownRestore(Restored());
  ASSERT_TRUE(b);
  EXPECT_DOUBLE_EQ(b->vmm, 2);
  EXPECT_DOUBLE_EQ(b->memory, 2);
  EXPECT_DOUBLE_EQ(b->identity, 4);
  EXPECT_DOUBLE_EQ(b->mount, 2);
  EXPECT_DOUBLE_EQ(b->load, 20);
  EXPECT_DOUBLE_EQ(b->request, 2);
  EXPECT_DOUBLE_EQ(b->ready, 10);
  EXPECT_DOUBLE_EQ(b->response, 32);
}

TEST(Timeline, RequestSentBeforeReadyCountsFromReady) {
  auto t = Restored();
  t.request_sent = 101 * kMilli;
  const auto b = BreakDownRestore(t);
  ASSERT_TRUE(b);
  EXPECT_DOUBLE_EQ(b->request, 3);
}

TEST(Timeline, MissingStampYieldsNothing) {
  auto boot = Booted();
  boot.agent_up = 0;
  EXPECT_FALSE(BreakDownBoot(boot));
  auto restore = Restored();
  restore.response_received = 0;
  EXPECT_FALSE(BreakDownRestore(restore));
}

TEST(Timeline, StampsOutOfOrderYieldNothing) {
  auto t = Restored();
  t.mounted = 103 * kMilli;
  EXPECT_FALSE(BreakDownRestore(t));
}

}  // namespace
}  // namespace snapfaas::faas
