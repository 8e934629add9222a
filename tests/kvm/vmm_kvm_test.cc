// The VMM against real KVM, with guests of a few instructions (tests/kvm/guests).
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "snapshot/format.h"
#include "snapshot/memory_image.h"
#include "vmm_process.h"

namespace snapfaas {
namespace {

constexpr uint64_t kMemoryMib = 16;

class VmmKvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/kvm that this user may open";
  }

  // A VMM that has been told to boot a tiny guest.
  static VmmProcess Boot(const std::string& guest, wire::BootCommand command = {}, uint32_t vcpus = 1) {
    auto vmm = VmmProcess::Start(kMemoryMib, vcpus);
    if (!vmm) throw std::runtime_error(vmm.error().Message());
    command.kernel = OpenGuest(guest);
    auto sent = vmm->Send(std::move(command));
    if (!sent) throw std::runtime_error(sent.error().Message());
    return std::move(*vmm);
  }

  struct Snapshot {
    UniqueFd state = MakeMemfd("state");
    UniqueFd memory = MakeMemfd("memory");
  };

  static Snapshot TakeSnapshot(const std::string& guest, UniqueFd runtimefs = {}) {
    Snapshot snapshot;
    wire::BootCommand command;
    command.devices.runtimefs = std::move(runtimefs);
    command.snapshot_state = Duplicate(snapshot.state);
    command.snapshot_memory = Duplicate(snapshot.memory);
    VmmProcess vmm = Boot(guest, std::move(command));
    auto taken = vmm.Await<wire::SnapshotTakenEvent>();
    if (!taken) throw std::runtime_error(taken.error().Message());
    return snapshot;
  }

  static wire::RestoreCommand RestoreOf(const Snapshot& snapshot, wire::RestoreMode mode) {
    wire::RestoreCommand command;
    command.mode = mode;
    command.state = Duplicate(snapshot.state);
    command.memory = Duplicate(snapshot.memory);
    return command;
  }

  // All marks until 126.
  static std::vector<uint32_t> MarksUntilReady(VmmProcess& vmm) {
    std::vector<uint32_t> marks;
    for (;;) {
      auto mark = vmm.NextMark();
      if (!mark) {
        ADD_FAILURE() << mark.error().Message();
        return marks;
      }
      if (*mark == 126) return marks;
      marks.push_back(*mark);
    }
  }
};

TEST_F(VmmKvmTest, DoorbellRingsAtEveryWidthAndPlace) {
  VmmProcess vmm = Boot("marks");
  const uint32_t magic = static_cast<uint32_t>(wire::kIdentityMagic);
  EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{1, 2, 3, 4, 5, magic, magic}));
}

TEST_F(VmmKvmTest, PowerOffEndsTheProcessWithTheConsoleWritten) {
  UniqueFd console = MakeMemfd("console");
  wire::BootCommand command;
  command.devices.console = Duplicate(console);
  VmmProcess vmm = Boot("marks", std::move(command));
  auto ended = vmm.Await<wire::EndedEvent>();
  ASSERT_TRUE(ended) << ended.error().Message();
  EXPECT_EQ(ended->reason, wire::EndReason::kPowerOff);
  EXPECT_EQ(vmm.Join(), 0);
  EXPECT_EQ(Contents(console), "hello from ring zero\n");
}

TEST_F(VmmKvmTest, TripleFaultIsAReset) {
  VmmProcess vmm = Boot("triple_fault");
  auto ended = vmm.Await<wire::EndedEvent>();
  ASSERT_TRUE(ended) << ended.error().Message();
  EXPECT_EQ(ended->reason, wire::EndReason::kReset);
}

TEST_F(VmmKvmTest, HostileDeviceAccessHurtsTheGuestOnly) {
  VmmProcess vmm = Boot("hostile");
  auto mark = vmm.NextMark();
  ASSERT_TRUE(mark) << mark.error().Message();
  EXPECT_EQ(*mark, 126u);
}

TEST_F(VmmKvmTest, BootWithoutSnapshotGoesOnAfter124) {
  VmmProcess vmm = Boot("counter");
  EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{124, 1002, 2085, 3000}));
}

TEST_F(VmmKvmTest, RestoresGoOnBehind124IndependentlyAndLeaveTheSnapshotAsItWas) {
  const Snapshot snapshot = TakeSnapshot("counter");
  const std::string memory_before = Contents(snapshot.memory);
  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy, wire::RestoreMode::kMmap}) {
    auto vmm = VmmProcess::Start(kMemoryMib, 1);
    ASSERT_TRUE(vmm) << vmm.error().Message();
    ASSERT_TRUE(vmm->Send(RestoreOf(snapshot, mode)));
    auto restored = vmm->Await<wire::RestoredEvent>();
    ASSERT_TRUE(restored) << restored.error().Message();
    EXPECT_LE(restored->begun_ns, restored->memory_done_ns);
    EXPECT_LE(restored->memory_done_ns, restored->state_done_ns);
    EXPECT_EQ(MarksUntilReady(*vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
  }
  EXPECT_EQ(Contents(snapshot.memory), memory_before);
}

TEST_F(VmmKvmTest, EightRestoresAtOnce) {
  const Snapshot snapshot = TakeSnapshot("counter");
  std::vector<VmmProcess> vmms;
  for (int i = 0; i < 8; ++i) {
    auto vmm = VmmProcess::Start(kMemoryMib, 1);
    ASSERT_TRUE(vmm) << vmm.error().Message();
    ASSERT_TRUE(vmm->Send(RestoreOf(snapshot, wire::RestoreMode::kMmap)));
    vmms.push_back(std::move(*vmm));
  }
  for (VmmProcess& vmm : vmms) EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
}

TEST_F(VmmKvmTest, SnapshotHoldsOnlyPagesThatAreNotZero) {
  const Snapshot snapshot = TakeSnapshot("counter");
  auto state = snapshot::ReadState(snapshot.state.get());
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_EQ(state->machine.memory_bytes, kMemoryMib << 20);
  EXPECT_GT(state->memory.StoredBytes(), 0u);
  EXPECT_LT(state->memory.StoredBytes(), 128u * 1024);
}

TEST_F(VmmKvmTest, PagesOfTheRuntimefsAreReferredToAndRestored) {
  // The image of another such VM has, page by page, nearly all that this one will hold.
  const Snapshot other = TakeSnapshot("counter");
  const Snapshot snapshot = TakeSnapshot("counter", Duplicate(other.memory));
  auto all = snapshot::ReadState(other.state.get());
  ASSERT_TRUE(all) << all.error().Message();
  auto state = snapshot::ReadState(snapshot.state.get());
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_LT(state->memory.StoredBytes(), all->memory.StoredBytes());
  EXPECT_EQ(state->memory.ResidentBytes(), all->memory.ResidentBytes());

  const UniqueFd kernel = OpenGuest("counter");
  const snapshot::MemorySources sources{kernel.get(), other.memory.get()};
  Snapshot complete;
  complete.state = Duplicate(snapshot.state);
  auto copied =
      snapshot::CopyVerified(snapshot.memory.get(), complete.memory.get(), state->memory, kMemoryMib << 20, sources);
  ASSERT_TRUE(copied) << copied.error().Message();
  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy}) {
    auto vmm = VmmProcess::Start(kMemoryMib, 1);
    ASSERT_TRUE(vmm) << vmm.error().Message();
    ASSERT_TRUE(vmm->Send(RestoreOf(complete, mode)));
    EXPECT_EQ(MarksUntilReady(*vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
  }
}

TEST_F(VmmKvmTest, RestoreOfATruncatedMemoryImageIsRefused) {
  const Snapshot snapshot = TakeSnapshot("counter");
  ASSERT_EQ(::ftruncate(snapshot.memory.get(), (kMemoryMib << 20) - 1), 0);
  auto vmm = VmmProcess::Start(kMemoryMib, 1);
  ASSERT_TRUE(vmm) << vmm.error().Message();
  ASSERT_TRUE(vmm->Send(RestoreOf(snapshot, wire::RestoreMode::kMmap)));
  auto restored = vmm->Await<wire::RestoredEvent>();
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(vmm->Join(), 1);
}

TEST_F(VmmKvmTest, RestoreIntoAnotherMemorySizeIsRefused) {
  const Snapshot snapshot = TakeSnapshot("counter");
  auto vmm = VmmProcess::Start(kMemoryMib * 2, 1);
  ASSERT_TRUE(vmm) << vmm.error().Message();
  ASSERT_TRUE(vmm->Send(RestoreOf(snapshot, wire::RestoreMode::kMmap)));
  auto restored = vmm->Await<wire::RestoredEvent>();
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kIncompatible);
  EXPECT_EQ(vmm->Join(), 1);
}

TEST_F(VmmKvmTest, RestoreOfAnAlteredStateIsRefused) {
  const Snapshot snapshot = TakeSnapshot("counter");
  const std::string state = Contents(snapshot.state);
  const char flipped = static_cast<char>(state[state.size() / 2] ^ 1);
  ASSERT_EQ(::pwrite(snapshot.state.get(), &flipped, 1, static_cast<off_t>(state.size() / 2)), 1);
  auto vmm = VmmProcess::Start(kMemoryMib, 1);
  ASSERT_TRUE(vmm) << vmm.error().Message();
  ASSERT_TRUE(vmm->Send(RestoreOf(snapshot, wire::RestoreMode::kMmap)));
  auto restored = vmm->Await<wire::RestoredEvent>();
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kCorrupt);
}

TEST_F(VmmKvmTest, FileThatIsNoKernelIsRefused) {
  auto vmm = VmmProcess::Start(kMemoryMib, 1);
  ASSERT_TRUE(vmm) << vmm.error().Message();
  wire::BootCommand command;
  command.kernel = MakeMemfd("empty");
  ASSERT_TRUE(vmm->Send(std::move(command)));
  auto mark = vmm->NextMark();
  ASSERT_FALSE(mark);
  EXPECT_EQ(mark.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(mark.error().context.find("bzImage"), std::string::npos);
}

TEST_F(VmmKvmTest, ClosingTheControlSocketStopsASpinningGuest) {
  VmmProcess vmm = Boot("spin");
  auto mark = vmm.NextMark();
  ASSERT_TRUE(mark) << mark.error().Message();
  vmm.CloseControl();
  EXPECT_EQ(vmm.Join(), 0);
}

TEST_F(VmmKvmTest, SecondCommandIsRefused) {
  VmmProcess vmm = Boot("spin");
  wire::BootCommand again;
  again.kernel = OpenGuest("spin");
  ASSERT_TRUE(vmm.Send(std::move(again)));
  auto ended = vmm.Await<wire::EndedEvent>();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kInvalidArgument);
}

TEST(VmmWithoutKvmTest, MemoryOutOfRangeIsRefused) {
  auto vmm = VmmProcess::Start(1, 1);
  ASSERT_FALSE(vmm);
  EXPECT_EQ(vmm.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace snapfaas
