#include "faas/shell_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "faas/fake_vmm_for_tests.h"

namespace snapfaas::faas {
namespace {

using ::testing::HasSubstr;

constexpr VmSize kSmall{128, 1};
constexpr VmSize kMiddle{256, 1};
constexpr VmSize kLarge{512, 2};

// For what must not happen: long enough for a pool that does it nevertheless.
int64_t AfterAWhile() { return MonotonicNanos() + 100'000'000; }
void WaitAWhile() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }

std::unique_ptr<ShellPool> MakePool(Spawner& spawner, const ShellPool::Limits& limits = {}) {
  auto pool = ShellPool::Create(spawner, limits);
  EXPECT_TRUE(pool);
  return std::move(*pool);
}

// VMMs that become shells and wait; `living` counts them.
class ShellPoolTest : public ::testing::Test {
 protected:
  size_t Started(const VmSize& size) const {
    const auto sizes = spawner_.sizes();
    return static_cast<size_t>(std::count(sizes.begin(), sizes.end(), size));
  }
  size_t Started() const { return spawner_.sizes().size(); }

  std::atomic<int> living_ = 0;
  FakeSpawner spawner_{[this](FakeVmm& vmm) {
    ++living_;
    vmm.SendShellReady();
    vmm.WaitForLauncherToClose();
    --living_;
  }};
};

TEST_F(ShellPoolTest, ReadyShellIsTakenAtOnce) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  // No start could keep a deadline that has passed.
  auto taken = pool->Take(kSmall, MonotonicNanos());
  ASSERT_TRUE(taken) << taken.error().Message();
  EXPECT_EQ(taken->shell.size(), kSmall);
  EXPECT_TRUE(taken->shell.Waits());
  EXPECT_EQ(Started(), 1u);
}

TEST_F(ShellPoolTest, RefillBeginsWhenTheTakersPauseEnds) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  auto taken = pool->Take(kSmall, Soon());
  ASSERT_TRUE(taken);
  auto full = pool->WaitFull(kSmall, AfterAWhile());
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kTimedOut);
  EXPECT_EQ(Started(), 1u);
  taken->pause.End();
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(Started(), 2u);
  EXPECT_TRUE(taken->shell.Waits());
}

TEST_F(ShellPoolTest, StartsBeforehandAndTakersWithoutAShellAreCounted) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 2));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(pool->counts().started, 2u);
  EXPECT_GT(pool->counts().starting_ns, 0);
  const ShellPool::Pause pause = pool->PauseRefill();
  std::vector<ShellPool::Taken> taken;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pool->counts().missing, 0u);
    auto one = pool->Take(kSmall, Soon());
    ASSERT_TRUE(one) << one.error().Message();
    taken.push_back(std::move(*one));
  }
  EXPECT_EQ(pool->counts().missing, 1u);
  EXPECT_EQ(pool->counts().started, 2u);
}

TEST_F(ShellPoolTest, PauseHoldsRefillButNotATaker) {
  auto pool = MakePool(spawner_);
  std::optional<ShellPool::Pause> first(pool->PauseRefill());
  ShellPool::Pause pause(std::move(*first));
  first.reset();  // ends nothing any more
  ASSERT_TRUE(pool->Reserve(kSmall, 2));
  EXPECT_FALSE(pool->WaitFull(kSmall, AfterAWhile()));
  EXPECT_EQ(Started(), 0u);
  {
    auto taken = pool->Take(kSmall, Soon());
    ASSERT_TRUE(taken) << taken.error().Message();
  }
  EXPECT_FALSE(pool->WaitFull(kSmall, AfterAWhile()));
  EXPECT_EQ(Started(), 1u);
  pause.End();
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(Started(), 3u);
}

TEST_F(ShellPoolTest, PauseHeldForTooLongHoldsNothing) {
  auto pool =
      MakePool(spawner_, {.shells_per_kind = 1, .max_shells = 8, .longest_pause = std::chrono::milliseconds(20)});
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  auto taken = pool->Take(kSmall, Soon());
  ASSERT_TRUE(taken);
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(Started(), 2u);
}

TEST_F(ShellPoolTest, SizeIsKnownOnceItWasTaken) {
  auto pool = MakePool(spawner_, {.shells_per_kind = 2, .max_shells = 8});
  auto full = pool->WaitFull(kLarge, Soon());
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(pool->Take(kLarge, Soon()));
  ASSERT_TRUE(pool->WaitFull(kLarge, Soon()));
  EXPECT_EQ(Started(kLarge), 3u);
  EXPECT_EQ(living_, 2);
}

TEST_F(ShellPoolTest, EachSizeHasItsOwnShells) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->Reserve(kLarge, 2));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  ASSERT_TRUE(pool->WaitFull(kLarge, Soon()));
  auto large = pool->Take(kLarge, Soon());
  auto small = pool->Take(kSmall, Soon());
  ASSERT_TRUE(large);
  ASSERT_TRUE(small);
  EXPECT_EQ(large->shell.size(), kLarge);
  EXPECT_EQ(small->shell.size(), kSmall);
  EXPECT_EQ(Started(kSmall), 1u);
  EXPECT_EQ(Started(kLarge), 2u);
}

TEST_F(ShellPoolTest, SizeUnusedForLongestMakesRoom) {
  auto pool = MakePool(spawner_, {.shells_per_kind = 1, .max_shells = 2});
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->Reserve(kMiddle, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  ASSERT_TRUE(pool->WaitFull(kMiddle, Soon()));
  ASSERT_TRUE(pool->Take(kSmall, Soon()));  // used later than kMiddle now
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  ASSERT_TRUE(pool->Reserve(kLarge, 1));
  ASSERT_TRUE(pool->WaitFull(kLarge, Soon()));
  EXPECT_EQ(living_, 2);
  const auto pause = pool->PauseRefill();
  EXPECT_TRUE(pool->Take(kSmall, MonotonicNanos()));
  EXPECT_TRUE(pool->Take(kLarge, MonotonicNanos()));
  auto ended = pool->Take(kMiddle, MonotonicNanos());
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kTimedOut);
}

TEST_F(ShellPoolTest, ReservationAboveTheBoundIsFullAtTheBound) {
  auto pool = MakePool(spawner_, {.shells_per_kind = 1, .max_shells = 3});
  ASSERT_TRUE(pool->Reserve(kSmall, 100));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(living_, 3);
}

TEST_F(ShellPoolTest, SmallerReservationEndsShells) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 3));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(living_, 1);
  EXPECT_TRUE(pool->Take(kSmall, MonotonicNanos()));
}

TEST_F(ShellPoolTest, ManyTakersGetAShellEach) {
  auto pool = MakePool(spawner_, {.shells_per_kind = 1, .max_shells = 4});
  ASSERT_TRUE(pool->Reserve(kSmall, 2));
  constexpr int kTakers = 6;
  constexpr int kTakes = 10;
  std::atomic<int> good = 0;
  std::vector<std::thread> takers;
  takers.reserve(kTakers);
  for (int taker = 0; taker < kTakers; ++taker) {
    takers.emplace_back([&pool, &good, size = taker % 2 == 0 ? kSmall : kLarge] {
      for (int take = 0; take < kTakes; ++take) {
        auto taken = pool->Take(size, Soon());
        if (taken && taken->shell.size() == size && taken->shell.Waits()) ++good;
      }
    });
  }
  for (auto& taker : takers) taker.join();
  EXPECT_EQ(good, kTakers * kTakes);
  EXPECT_GE(Started(), static_cast<size_t>(kTakers * kTakes));
  pool->Stop();
  EXPECT_EQ(living_, 0);
}

TEST_F(ShellPoolTest, StopLeavesNoProcessAndRefusesWork) {
  auto pool = MakePool(spawner_);
  ASSERT_TRUE(pool->Reserve(kSmall, 3));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(living_, 3);
  {
    auto taken = pool->Take(kSmall, Soon());
    ASSERT_TRUE(taken);
    pool->Stop();
    EXPECT_EQ(living_, 1);  // what was taken stays the taker's
    EXPECT_TRUE(taken->shell.Waits());
  }
  EXPECT_EQ(living_, 0);
  for (const auto& refused : {pool->Reserve(kSmall, 1), pool->WaitFull(kSmall, Soon())}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  }
  auto refused = pool->Take(kSmall, Soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  pool->Stop();
  EXPECT_EQ(Started(), 3u);
}

TEST_F(ShellPoolTest, WrongSizesAreRefused) {
  auto pool = MakePool(spawner_);
  auto reserved = pool->Reserve(VmSize{100, 1}, 1);
  ASSERT_FALSE(reserved);
  EXPECT_EQ(reserved.error().code, ErrorCode::kInvalidArgument);
  auto taken = pool->Take(VmSize{128, 9}, Soon());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Started(), 0u);
}

TEST(ShellPool, DeadShellIsNoticedAndReplaced) {
  std::atomic<int> started = 0;
  std::promise<void> die;
  std::promise<void> died;
  FakeSpawner spawner([&](FakeVmm& vmm) {
    const bool first = ++started == 1;
    vmm.SendShellReady();
    if (first) {
      die.get_future().wait();
      vmm.CloseControl();
      died.set_value();
    } else {
      vmm.WaitForLauncherToClose();
    }
  });
  auto pool = MakePool(spawner);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  die.set_value();
  died.get_future().wait();
  {
    auto taken = pool->Take(kSmall, Soon());
    ASSERT_TRUE(taken) << taken.error().Message();
    EXPECT_TRUE(taken->shell.Waits());
    EXPECT_EQ(spawner.sizes().size(), 2u);
  }
  ASSERT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(spawner.sizes().size(), 3u);
}

TEST(ShellPool, TakerGetsTheShellThatIsBeingStarted) {
  std::promise<void> may_be_ready;
  auto gate = may_be_ready.get_future().share();
  FakeSpawner spawner([gate](FakeVmm& vmm) {
    gate.wait();
    vmm.SendShellReady();
    vmm.WaitForLauncherToClose();
  });
  auto pool = MakePool(spawner);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  while (spawner.sizes().empty()) std::this_thread::yield();
  auto late = pool->Take(kSmall, AfterAWhile());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimedOut);
  auto taking = std::async(std::launch::async, [&pool] { return pool->Take(kSmall, Soon()); });
  WaitAWhile();
  may_be_ready.set_value();
  auto taken = taking.get();
  ASSERT_TRUE(taken) << taken.error().Message();
  EXPECT_EQ(spawner.sizes().size(), 1u);
}

TEST(ShellPool, FailureIsTheVmmsOwnAndNotTriedAgainUnasked) {
  std::atomic<bool> broken = true;
  FakeSpawner spawner([&broken](FakeVmm& vmm) {
    if (broken) {
      vmm.Send(wire::FailedEvent{Error{ErrorCode::kUnavailable, 0, "/dev/kvm is missing"}});
    } else {
      vmm.SendShellReady();
      vmm.WaitForLauncherToClose();
    }
  });
  auto pool = MakePool(spawner);
  ASSERT_TRUE(pool->Reserve(kSmall, 2));
  auto full = pool->WaitFull(kSmall, Soon());
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().Message(), "/dev/kvm is missing");
  WaitAWhile();
  EXPECT_EQ(spawner.sizes().size(), 1u);

  auto taken = pool->Take(kSmall, Soon());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().Message(), "/dev/kvm is missing");
  WaitAWhile();
  EXPECT_EQ(spawner.sizes().size(), 2u);

  broken = false;
  EXPECT_TRUE(pool->Take(kSmall, Soon()));
  EXPECT_TRUE(pool->WaitFull(kSmall, Soon()));
  EXPECT_EQ(spawner.sizes().size(), 5u);
}

TEST(ShellPool, SpawnerThatFailsIsReportedAndNotAskedAgain) {
  class BrokenSpawner : public Spawner {
   public:
    Result<std::unique_ptr<VmmProcess>> Spawn(const VmSize& /*size*/) override {
      ++calls;
      return Fail(ErrorCode::kNotFound, "starting snapfaas-vmm");
    }
    std::atomic<int> calls = 0;
  };
  BrokenSpawner spawner;
  auto pool = MakePool(spawner);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  auto full = pool->WaitFull(kSmall, Soon());
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kNotFound);
  auto taken = pool->Take(kSmall, Soon());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kNotFound);
  WaitAWhile();
  EXPECT_EQ(spawner.calls, 2);
}

TEST(ShellPool, StopGivesUpStartsThatHang) {
  FakeSpawner spawner([](FakeVmm& vmm) { vmm.WaitForLauncherToClose(); });
  auto pool = MakePool(spawner);
  ASSERT_TRUE(pool->Reserve(kSmall, 1));
  while (spawner.sizes().empty()) std::this_thread::yield();
  // One taker waits for the pool's start, the other one starts its own.
  auto first = std::async(std::launch::async, [&pool] { return pool->Take(kSmall, Soon()); });
  auto second = std::async(std::launch::async, [&pool] { return pool->Take(kSmall, Soon()); });
  while (spawner.sizes().size() < 2) std::this_thread::yield();
  const int64_t began = MonotonicNanos();
  pool->Stop();
  for (auto* taking : {&first, &second}) {
    auto taken = taking->get();
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(taken.error().Message(), HasSubstr("stopped"));
  }
  EXPECT_LT(MonotonicNanos() - began, kTestPatience / 2);
}

}  // namespace
}  // namespace snapfaas::faas
