// The VMM against real KVM, with guests of a few instructions (tests/kvm/guests).
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/units.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/memory_image.h"
#include "snapshot/page_loader.h"
#include "snapshot/working_set.h"
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
    if (!command.kernel.valid()) command.kernel = OpenGuest(guest);
    auto sent = vmm->Send(std::move(command));
    if (!sent) throw std::runtime_error(sent.error().Message());
    return std::move(*vmm);
  }

  struct Snapshot {
    UniqueFd state = MakeMemfd("state");
    UniqueFd memory = MakeMemfd("memory");
  };

  // `kernel` takes the place of the guest's own file.
  static Snapshot TakeSnapshot(const std::string& guest, UniqueFd kernel = {}) {
    Snapshot snapshot;
    wire::BootCommand command;
    command.kernel = std::move(kernel);
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
    command.snapshot.state = Duplicate(snapshot.state);
    command.snapshot.memory = Duplicate(snapshot.memory);
    return command;
  }

  static VmmProcess Restore(wire::RestoreCommand command) {
    auto vmm = VmmProcess::Start(kMemoryMib, 1);
    if (!vmm) throw std::runtime_error(vmm.error().Message());
    auto sent = vmm->Send(std::move(command));
    if (!sent) throw std::runtime_error(sent.error().Message());
    auto restored = vmm->Await<wire::RestoredEvent>();
    if (!restored) throw std::runtime_error(restored.error().Message());
    return std::move(*vmm);
  }

  // The guest's own file, and behind it pages that a VM of it has.
  static UniqueFd KernelWithPagesOf(const std::string& guest, const Snapshot& snapshot) {
    std::string bytes = Contents(OpenGuest(guest));
    bytes.resize((bytes.size() + kPageSize - 1) / kPageSize * kPageSize);
    bytes += Contents(snapshot.memory);
    UniqueFd kernel = MakeMemfd("kernel");
    auto written = WriteAll(kernel.get(), bytes);
    if (!written) throw std::runtime_error(written.error().Message());
    return kernel;
  }

  // How the snapshot's memory is put together where it is on disk: of a base, the kernel's pages over its memory file;
  // of a function, its own pages over its base.
  static snapshot::RestorePlan PlanOf(const snapshot::StateFile& state) {
    snapshot::RestorePlan plan;
    for (const auto& run : state.memory.runs) {
      if (run.source == snapshot::PageSource::kKernel) {
        plan.extents.push_back({{run.first_page, run.pages}, snapshot::ImageFile::kKernel, run.source_page});
      } else if (state.base_checksum != 0) {
        plan.extents.push_back({{run.first_page, run.pages}, snapshot::ImageFile::kOverlay, run.first_page});
      }
    }
    return plan;
  }

  static UniqueFd PlanFile(const snapshot::RestorePlan& plan) {
    UniqueFd file = MakeMemfd("plan");
    auto written = snapshot::WriteAt(file.get(), 0, snapshot::EncodePlan(plan), "plan");
    if (!written) throw std::runtime_error(written.error().Message());
    return file;
  }

  static wire::RestoreCommand RestoreOfFunction(const Snapshot& function, const snapshot::StateFile& state,
                                                const Snapshot& base, wire::RestoreMode mode) {
    wire::RestoreCommand command = RestoreOf(base, mode);
    command.snapshot.state = Duplicate(function.state);
    command.snapshot.overlay = Duplicate(function.memory);
    command.snapshot.plan = PlanFile(PlanOf(state));
    return command;
  }

  static bool HasRun(const snapshot::StateFile& state, uint32_t page, snapshot::PageSource source) {
    const auto& runs = state.memory.runs;
    return std::any_of(runs.begin(), runs.end(), [&](const snapshot::MemoryRun& run) {
      return run.source == source && page >= run.first_page && page - run.first_page < run.pages;
    });
  }

  static bool Has(const std::vector<PageRun>& runs, uint32_t page) {
    return std::any_of(runs.begin(), runs.end(),
                       [page](const PageRun& run) { return page >= run.first_page && page < run.end(); });
  }

  static snapshot::WorkingSet RecordWorkingSet(VmmProcess& vmm) {
    const UniqueFd file = MakeMemfd("set");
    EXPECT_TRUE(vmm.Send(wire::RecordWorkingSetCommand{Duplicate(file)}));
    auto recorded = vmm.Await<wire::WorkingSetRecordedEvent>();
    if (!recorded) throw std::runtime_error(recorded.error().Message());
    auto set = snapshot::ReadRecordedWorkingSet(file.get(), kMemoryMib << 20);
    if (!set) throw std::runtime_error(set.error().Message());
    EXPECT_EQ(recorded->read_pages, snapshot::PagesOf(set->read));
    EXPECT_EQ(recorded->written_pages, snapshot::PagesOf(set->written));
    EXPECT_GT(recorded->read_pages + recorded->written_pages, 0U);
    return *set;
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

TEST_F(VmmKvmTest, MarksOfAGuestThatNeverGetsReadyAreHeardOf) {
  const Snapshot snapshot = TakeSnapshot("stuck");
  VmmProcess vmm = Restore(RestoreOf(snapshot, wire::RestoreMode::kMmap));
  for (const uint32_t expected : {5u, 4u}) {
    const auto mark = vmm.NextMark();
    ASSERT_TRUE(mark) << mark.error().Message();
    EXPECT_EQ(*mark, expected);
  }
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

TEST_F(VmmKvmTest, PagesOfTheKernelAreReferredToAndRestored) {
  // The image of another such VM has, page by page, nearly all that this one will hold.
  const Snapshot other = TakeSnapshot("counter");
  const UniqueFd kernel = KernelWithPagesOf("counter", other);
  const Snapshot snapshot = TakeSnapshot("counter", Duplicate(kernel));
  auto all = snapshot::ReadState(other.state.get());
  ASSERT_TRUE(all) << all.error().Message();
  auto state = snapshot::ReadState(snapshot.state.get());
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_LT(state->memory.StoredBytes(), all->memory.StoredBytes());
  EXPECT_EQ(state->memory.ResidentBytes(), all->memory.ResidentBytes());

  Snapshot complete;
  complete.state = Duplicate(snapshot.state);
  auto copied = snapshot::CopyVerified(snapshot.memory.get(), complete.memory.get(), state->memory, kMemoryMib << 20,
                                       {kernel.get()});
  ASSERT_TRUE(copied) << copied.error().Message();
  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy}) {
    VmmProcess vmm = Restore(RestoreOf(complete, mode));
    EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
  }

  // And as from disk, with the kernel's pages laid over the image.
  const snapshot::RestorePlan plan = PlanOf(*state);
  ASSERT_FALSE(plan.extents.empty());
  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy, wire::RestoreMode::kPrefetch}) {
    auto command = RestoreOf(snapshot, mode);
    command.snapshot.kernel = Duplicate(kernel);
    command.snapshot.plan = PlanFile(plan);
    VmmProcess vmm = Restore(std::move(command));
    EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
  }
}

TEST_F(VmmKvmTest, FunctionSnapshotIsALayerOverItsBase) {
  const Snapshot base = TakeSnapshot("layer");
  Snapshot function;
  auto command = RestoreOf(base, wire::RestoreMode::kMmap);
  command.function_state = Duplicate(function.state);
  command.function_memory = Duplicate(function.memory);
  VmmProcess taker = Restore(std::move(command));
  auto taken = taker.Await<wire::SnapshotTakenEvent>();
  ASSERT_TRUE(taken) << taken.error().Message();
  EXPECT_EQ(taker.Join(), 0);

  auto state = snapshot::ReadState(function.state.get());
  ASSERT_TRUE(state) << state.error().Message();
  const std::string base_state = Contents(base.state);
  EXPECT_EQ(state->base_checksum,
            snapshot::Hash64({reinterpret_cast<const uint8_t*>(base_state.data()), base_state.size()}));
  // The page that was cleared takes no space; the two that were written do. The code's page is as it was.
  EXPECT_EQ(taken->stored_memory_bytes, state->memory.StoredBytes());
  EXPECT_TRUE(HasRun(*state, 0x180, snapshot::PageSource::kZero));
  EXPECT_TRUE(HasRun(*state, 0x190, snapshot::PageSource::kStored));
  EXPECT_TRUE(HasRun(*state, 0x1a0, snapshot::PageSource::kStored));
  EXPECT_EQ(state->memory.StoredBytes(), 2 * kPageSize);

  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy, wire::RestoreMode::kPrefetch}) {
    VmmProcess vmm = Restore(RestoreOfFunction(function, *state, base, mode));
    EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{2000, 3000 + 0x45, 4000 + 0x77}));
  }
}

TEST_F(VmmKvmTest, FunctionSnapshotClearsPagesThatItsBaseHasFromTheKernel) {
  const Snapshot other = TakeSnapshot("layer");
  const UniqueFd kernel = KernelWithPagesOf("layer", other);
  const Snapshot base = TakeSnapshot("layer", Duplicate(kernel));
  auto base_state = snapshot::ReadState(base.state.get());
  ASSERT_TRUE(base_state) << base_state.error().Message();
  ASSERT_TRUE(HasRun(*base_state, 0x180, snapshot::PageSource::kKernel));

  // Restored from disk, its memory file has a hole where the kernel's page is.
  Snapshot function;
  auto command = RestoreOf(base, wire::RestoreMode::kMmap);
  command.snapshot.kernel = Duplicate(kernel);
  command.snapshot.plan = PlanFile(PlanOf(*base_state));
  command.function_state = Duplicate(function.state);
  command.function_memory = Duplicate(function.memory);
  VmmProcess taker = Restore(std::move(command));
  ASSERT_TRUE(taker.Await<wire::SnapshotTakenEvent>());
  auto state = snapshot::ReadState(function.state.get());
  ASSERT_TRUE(state) << state.error().Message();
  EXPECT_TRUE(HasRun(*state, 0x180, snapshot::PageSource::kZero));
}

TEST_F(VmmKvmTest, ResetBringsBackWhatWasRestoredAsAnotherMicroVm) {
  const Snapshot snapshot = TakeSnapshot("counter");
  for (const auto mode : {wire::RestoreMode::kMmap, wire::RestoreMode::kCopy, wire::RestoreMode::kPrefetch}) {
    VmmProcess vmm = Restore(RestoreOf(snapshot, mode));
    const std::vector<uint32_t> fresh = MarksUntilReady(vmm);
    EXPECT_EQ(fresh, (std::vector<uint32_t>{1002, 2085, 3001}));
    for (int round = 0; round < 3; ++round) {
      SCOPED_TRACE(fmt::format("mode {}, round {}", static_cast<int>(mode), round));
      ASSERT_TRUE(vmm.Send(wire::ResetCommand()));
      auto restored = vmm.Await<wire::RestoredEvent>();
      ASSERT_TRUE(restored) << restored.error().Message();
      EXPECT_LE(restored->begun_ns, restored->memory_done_ns);
      EXPECT_LE(restored->memory_done_ns, restored->state_done_ns);
      EXPECT_EQ(MarksUntilReady(vmm), fresh);
    }
  }
}

TEST_F(VmmKvmTest, ResetOfAGuestThatWasNotRestoredIsRefused) {
  VmmProcess vmm = Boot("spin");
  ASSERT_TRUE(vmm.Send(wire::ResetCommand()));
  auto reset = vmm.Await<wire::RestoredEvent>();
  ASSERT_FALSE(reset);
  EXPECT_EQ(reset.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(VmmKvmTest, WorkingSetHoldsWhatTheGuestTouched) {
  const Snapshot snapshot = TakeSnapshot("counter");
  VmmProcess vmm = Restore(RestoreOf(snapshot, wire::RestoreMode::kMmap));
  MarksUntilReady(vmm);
  const snapshot::WorkingSet set = RecordWorkingSet(vmm);
  EXPECT_TRUE(Has(set.written, 0x180));
  EXPECT_FALSE(Has(set.read, 0x180));
  EXPECT_LT(snapshot::PagesOf(set.written), 32U);
}

TEST_F(VmmKvmTest, WorkingSetOfACopiedGuestIsRefused) {
  const Snapshot snapshot = TakeSnapshot("counter");
  VmmProcess vmm = Restore(RestoreOf(snapshot, wire::RestoreMode::kCopy));
  ASSERT_TRUE(vmm.Send(wire::RecordWorkingSetCommand{MakeMemfd("set")}));
  auto recorded = vmm.Await<wire::WorkingSetRecordedEvent>();
  ASSERT_FALSE(recorded);
  EXPECT_EQ(recorded.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(VmmKvmTest, PrefetchedPagesAreThereBeforeTheGuestAsksForThem) {
  const Snapshot snapshot = TakeSnapshot("counter");
  snapshot::RestorePlan plan;
  {
    VmmProcess vmm = Restore(RestoreOf(snapshot, wire::RestoreMode::kMmap));
    MarksUntilReady(vmm);
    const snapshot::WorkingSet set = RecordWorkingSet(vmm);
    plan.read = set.read;
    plan.written = set.written;
  }
  // A page that the guest never touches shows that it is the plan that brings pages in.
  plan.written.push_back({0x800, 2});
  for (const auto read_ahead : {snapshot::ReadAhead::kNo, snapshot::ReadAhead::kYes}) {
    plan.read_ahead = read_ahead;
    auto command = RestoreOf(snapshot, wire::RestoreMode::kPrefetch);
    command.snapshot.plan = PlanFile(plan);
    VmmProcess vmm = Restore(std::move(command));
    EXPECT_EQ(MarksUntilReady(vmm), (std::vector<uint32_t>{1002, 2085, 3001}));
    const snapshot::WorkingSet set = RecordWorkingSet(vmm);
    EXPECT_TRUE(Has(set.written, 0x180));
    EXPECT_TRUE(Has(set.written, 0x801));
  }
}

TEST_F(VmmKvmTest, DamagedPlanIsRefused) {
  const Snapshot snapshot = TakeSnapshot("counter");
  snapshot::RestorePlan plan;
  plan.written = {{static_cast<uint32_t>((kMemoryMib << 20) / kPageSize), 1}};
  auto vmm = VmmProcess::Start(kMemoryMib, 1);
  ASSERT_TRUE(vmm) << vmm.error().Message();
  auto command = RestoreOf(snapshot, wire::RestoreMode::kPrefetch);
  command.snapshot.plan = PlanFile(plan);
  ASSERT_TRUE(vmm->Send(std::move(command)));
  auto restored = vmm->Await<wire::RestoredEvent>();
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kCorrupt);
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
