// Many microVMs from one snapshot: right and independent answers, and a snapshot that stays as it was.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/mapped_region.h"
#include "e2e_environment.h"
#include "faas/shell_pool.h"
#include "snapshot/hash.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;

constexpr int kRestoresInARow = 200;
constexpr int kAtOnce = 8;

uint64_t HashOf(int fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd, &status), 0);
  auto region = MappedRegion::OfFile(fd, 0, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED);
  EXPECT_TRUE(region);
  return region ? snapshot::Hash64(region->bytes()) : 0;
}

class RestoreTest : public EndToEndTest {
 protected:
  void SetUp() override { before_ = Hashes(); }
  void TearDown() override {
    EXPECT_EQ(Hashes(), before_) << "the snapshot's bytes have changed";
    EndToEndTest::TearDown();
  }

 private:
  std::pair<uint64_t, uint64_t> Hashes() {
    const auto& snapshot = environment_.snapshot();
    return {HashOf(snapshot.state_fd()), HashOf(snapshot.images().image)};
  }
  std::pair<uint64_t, uint64_t> before_;
};

void ExpectFirstCall(const json& answer, int id) {
  ASSERT_TRUE(answer.is_object()) << answer;
  EXPECT_EQ(answer["id"], id);
  EXPECT_EQ(answer["calls"], 1) << "memory of another microVM shows";
  EXPECT_EQ(answer["found"], false) << "a file of another microVM shows";
  EXPECT_EQ(answer["ids"], json::array({id}));
}

TEST_F(RestoreTest, TwoHundredInARowAreRightAndIndependent) {
  std::set<std::string> randoms;
  for (int id = 0; id < kRestoresInARow; ++id) {
    // Copying takes seconds in the emulated host.
    const auto mode = id % 20 == 19 ? wire::RestoreMode::kCopy : wire::RestoreMode::kMmap;
    auto vm = RestoreWith("counter", mode);
    ASSERT_TRUE(vm) << "restore " << id << ": " << vm.error().Message();
    const auto answer = Ask(*vm, {{"id", id}});
    ASSERT_NO_FATAL_FAILURE(ExpectFirstCall(answer, id));
    randoms.insert(answer["random"].get<std::string>());
  }
  EXPECT_EQ(randoms.size(), static_cast<size_t>(kRestoresInARow)) << "microVMs share a random seed";
}

TEST_F(RestoreTest, EightAtOnceAreIndependent) {
  std::vector<faas::MicroVm> vms;
  for (int id = 0; id < kAtOnce; ++id) {
    auto vm = RestoreWith("counter", id % 2 == 0 ? wire::RestoreMode::kMmap : wire::RestoreMode::kCopy);
    ASSERT_TRUE(vm) << vm.error().Message();
    vms.push_back(std::move(*vm));
  }
  EXPECT_EQ(VmmChildren().size(), static_cast<size_t>(kAtOnce));
  for (int id = 0; id < kAtOnce; ++id) ExpectFirstCall(Ask(vms[static_cast<size_t>(id)], {{"id", id}}), id);
  // Each goes on from its own state.
  for (int id = 0; id < kAtOnce; ++id) {
    const auto answer = Ask(vms[static_cast<size_t>(id)], {{"id", 100 + id}});
    EXPECT_EQ(answer["calls"], 2);
    EXPECT_EQ(answer["ids"], json::array({id, 100 + id}));
  }
}

TEST_F(RestoreTest, ShellsOfAPoolServeAndKilledOnesAreReplaced) {
  auto pool = faas::ShellPool::Create(environment_.spawner(), faas::ShellPool::Limits());
  ASSERT_TRUE(pool) << pool.error().Message();
  const faas::VmSize size;
  ASSERT_TRUE((*pool)->Reserve(size, 2));
  auto full = (*pool)->WaitFull(size, cli::DeadlineIn(30));
  ASSERT_TRUE(full) << full.error().Message();
  const auto killed = VmmChildren();
  EXPECT_EQ(killed.size(), 2u);
  for (const pid_t pid : killed) {
    ::kill(pid, SIGKILL);
    siginfo_t info{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  }
  for (int id = 0; id < 3; ++id) {
    const int64_t asked = MonotonicNanos();
    auto taken = (*pool)->Take(size, cli::DeadlineIn(30));
    ASSERT_TRUE(taken) << taken.error().Message();
    auto vm = faas::MicroVm::Create(std::move(taken->shell), asked);
    ASSERT_TRUE(vm) << vm.error().Message();
    auto restored = RestoreInto(*vm, "counter", wire::RestoreMode::kMmap, cli::DeadlineIn(60));
    ASSERT_TRUE(restored) << restored.error().Message();
    ExpectFirstCall(Ask(*vm, {{"id", id}}), id);
  }
  full = (*pool)->WaitFull(size, cli::DeadlineIn(30));
  EXPECT_TRUE(full) << full.error().Message();
  EXPECT_EQ(VmmChildren().size(), 2u);
  (*pool)->Stop();
  EXPECT_EQ(VmmChildren().size(), 0u);
}

TEST_F(RestoreTest, OneSnapshotServesDifferentFunctions) {
  auto counter = RestoreWith("counter");
  ASSERT_TRUE(counter) << counter.error().Message();
  auto raises = RestoreWith("raises");
  ASSERT_TRUE(raises) << raises.error().Message();
  ExpectFirstCall(Ask(*counter, {{"id", 5}}), 5);
  EXPECT_EQ(Ask(*raises, json::object()), json::parse(R"({"ok":true})"));
}

TEST_F(RestoreTest, LargeRequestAndAnswerCross) {
  auto vm = RestoreWith("raises");
  ASSERT_TRUE(vm) << vm.error().Message();
  EXPECT_EQ(Ask(*vm, {{"filler", std::string(1 << 20, 'x')}}), json::parse(R"({"ok":true})"));
}

}  // namespace
}  // namespace snapfaas::e2e
