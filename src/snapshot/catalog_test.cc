#include "snapshot/catalog.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "base/fault_injecting_file_system.h"
#include "base/mapped_region.h"
#include "base/scratch_folder_for_tests.h"
#include "snapshot/store.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

const WorkingSet kSet = {{{0, 3}, {20, 5}}, {{3, 1}, {9, 1}}};
const WorkingSet kNewSet = {{{1, 1}}, {{3, 1}}};

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() : root_(folder_.path().string() + "/snapshots") {}

  Catalog OpenCatalog() { return std::move(Catalog::Open(files_, root_).value()); }

  static Result<Manifest> PublishIn(Catalog& catalog, uint8_t value, const SnapshotKey& key = kKey) {
    auto pending = catalog.Begin(key);
    if (!pending) return Forward(pending.error());
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), value);
    return catalog.Publish(std::move(*pending), SomeSources());
  }

  // A snapshot of a VM that was restored from the base in the catalogue and wrote `value` into its page 4.
  static Result<Manifest> PublishFunctionIn(Catalog& catalog, uint8_t value, const SnapshotKey& key = kFunctionKey) {
    const auto files = catalog.Find(kKey);
    if (!files) return Forward(files.error());
    const auto base = LoadedSnapshot::Load(*files, {});
    if (!base) return Forward(base.error());
    auto pending = catalog.Begin(key);
    if (!pending) return Forward(pending.error());
    GuestMemory untouched = MakeMemory(1_MiB);
    GuestMemory restored = MakeMemory(1_MiB);
    EXPECT_TRUE(untouched.MapPrivateImage(base->images().image));
    EXPECT_TRUE(restored.MapPrivateImage(base->images().image));
    FillPage(restored, 4, value);
    TakeFunctionSnapshot(pending->state_fd(), pending->memory_fd(), restored, base->state_fd(), untouched);
    return catalog.Publish(std::move(*pending), SomeSources());
  }

  static Status SaveIn(Catalog& catalog, const WorkingSet& set) {
    const auto found = catalog.Find(kKey);
    if (!found) return Forward(found.error());
    return catalog.SaveWorkingSet(kKey, found->manifest.state_checksum, set);
  }

  // The byte that fills page 3 of the snapshot, which must load whole.
  static int ValueOf(const SnapshotFiles& files) {
    const auto loaded = LoadedSnapshot::Load(files, {});
    EXPECT_TRUE(loaded) << loaded.error().Message();
    if (!loaded) return -1;
    uint8_t value = 0;
    EXPECT_TRUE(ReadAt(loaded->images().image, 3 * kPageSize, {&value, 1}, "image"));
    return value;
  }

  std::vector<std::string> Names() { return files_.List(root_).value(); }

  ScratchFolder folder_;
  std::string root_;
  PosixFileSystem files_;
};

TEST_F(CatalogTest, PublishedSnapshotIsFoundAndListed) {
  Catalog catalog = OpenCatalog();
  const auto manifest = PublishIn(catalog, 1);
  ASSERT_TRUE(manifest) << manifest.error().Message();
  EXPECT_EQ(manifest->key, kKey);
  EXPECT_EQ(manifest->sources, SomeSources());
  EXPECT_EQ(manifest->memory_bytes, 1_MiB);
  EXPECT_EQ(manifest->stored_bytes, 2 * kPageSize);
  EXPECT_GT(manifest->created_unix_ms, 1'600'000'000'000);

  const auto found = catalog.Find(kKey);
  ASSERT_TRUE(found) << found.error().Message();
  EXPECT_EQ(found->manifest, *manifest);
  EXPECT_EQ(ValueOf(*found), 1);
  const auto entries = catalog.List();
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->front().folder, "python3-1mib-1vcpu");
  EXPECT_EQ(entries->front().manifest.value(), *manifest);
}

TEST_F(CatalogTest, MissingSnapshotNamesTheMend) {
  const Catalog catalog = OpenCatalog();
  const auto found = catalog.Find(kKey);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_NE(found.error().context.find("`snapfaas runtime build python3`"), std::string::npos);
}

TEST_F(CatalogTest, MissingFunctionSnapshotNamesWhatTakesIt) {
  const Catalog catalog = OpenCatalog();
  const auto found = catalog.Find(kFunctionKey);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_NE(found.error().context.find("`snapfaas run --layer function`"), std::string::npos);
  EXPECT_EQ(found.error().context.find("runtime build"), std::string::npos);
}

TEST_F(CatalogTest, ImpossibleKeyIsRefused) {
  Catalog catalog = OpenCatalog();
  EXPECT_EQ(catalog.Begin({"../x", 1, 1}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(catalog.Find({"../x", 1, 1}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(catalog.Remove({"../x", 1, 1}).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(CatalogTest, UnpublishedSnapshotLeavesNothing) {
  Catalog catalog = OpenCatalog();
  {
    auto pending = catalog.Begin(kKey);
    ASSERT_TRUE(pending);
    PendingSnapshot moved(std::move(*pending));
    EXPECT_EQ(Names().size(), 1U);
    EXPECT_TRUE(catalog.List()->empty());
  }
  EXPECT_TRUE(Names().empty());
}

TEST_F(CatalogTest, NewSnapshotReplacesTheOldBehindItsReaders) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  const auto old = catalog.Find(kKey);
  ASSERT_TRUE(PublishIn(catalog, 2));
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 2);
  EXPECT_EQ(ValueOf(*old), 1);
  EXPECT_EQ(Names(), std::vector<std::string>{"python3-1mib-1vcpu"});
}

TEST_F(CatalogTest, TwoBuildersOfOneKeyDoNotMeet) {
  Catalog catalog = OpenCatalog();
  auto one = catalog.Begin(kKey);
  auto two = catalog.Begin(kKey);
  ASSERT_TRUE(one && two);
  TakeSnapshot(one->state_fd(), one->memory_fd(), 1);
  TakeSnapshot(two->state_fd(), two->memory_fd(), 2);
  EXPECT_TRUE(catalog.Publish(std::move(*one), SomeSources()));
  EXPECT_TRUE(catalog.Publish(std::move(*two), SomeSources()));
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 2);
}

TEST_F(CatalogTest, RemovedSnapshotIsGone) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  EXPECT_TRUE(catalog.Remove(kKey));
  EXPECT_TRUE(Names().empty());
  EXPECT_EQ(catalog.Remove(kKey).error().code, ErrorCode::kNotFound);
}

TEST_F(CatalogTest, EmptyFilesAreNotPublished) {
  Catalog catalog = OpenCatalog();
  auto pending = catalog.Begin(kKey);
  EXPECT_EQ(catalog.Publish(std::move(*pending), SomeSources()).error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(Names().empty());
}

TEST_F(CatalogTest, SnapshotOfAnotherSizeIsNotPublished) {
  Catalog catalog = OpenCatalog();
  EXPECT_EQ(PublishIn(catalog, 1, {"python3", 2, 1}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(PublishIn(catalog, 1, {"python3", 1, 2}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Names().empty());
}

TEST_F(CatalogTest, MemoryThatWasNotWrittenIsNotPublished) {
  Catalog catalog = OpenCatalog();
  auto pending = catalog.Begin(kKey);
  TakeSnapshot(pending->state_fd(), pending->memory_fd(), 1);
  ASSERT_TRUE(SetSize(pending->memory_fd(), 0, "memory"));
  EXPECT_FALSE(catalog.Publish(std::move(*pending), SomeSources()));
  EXPECT_TRUE(Names().empty());
}

TEST_F(CatalogTest, SourcesThatAreNoHashesAreNotPublished) {
  Catalog catalog = OpenCatalog();
  auto pending = catalog.Begin(kKey);
  TakeSnapshot(pending->state_fd(), pending->memory_fd(), 1);
  EXPECT_EQ(catalog.Publish(std::move(*pending), {"a", "b", "c"}).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(CatalogTest, BrokenSnapshotIsListedWithItsFaultBesideTheOthers) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  std::filesystem::create_directory(root_ + "/c-1mib-1vcpu");
  std::filesystem::copy(root_ + "/python3-1mib-1vcpu/manifest.json", root_ + "/c-1mib-1vcpu/manifest.json");
  std::filesystem::create_directory(root_ + "/node-1mib-1vcpu");
  const auto entries = catalog.List();
  ASSERT_EQ(entries->size(), 3U);
  EXPECT_EQ((*entries)[0].manifest.error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE((*entries)[1].manifest);
  EXPECT_TRUE((*entries)[2].manifest);
}

TEST_F(CatalogTest, SnapshotWithAFileMissingOrCutIsCorrupt) {
  for (const char* name : {"state", "memory", "manifest.json"}) {
    Catalog catalog = OpenCatalog();
    ASSERT_TRUE(PublishIn(catalog, 1));
    const std::string path = root_ + "/python3-1mib-1vcpu/" + name;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    EXPECT_EQ(catalog.Find(kKey).error().code, ErrorCode::kCorrupt) << name;
    std::filesystem::remove(path);
    const auto found = catalog.Find(kKey);
    EXPECT_EQ(found.error().code, ErrorCode::kCorrupt) << name;
    EXPECT_NE(found.error().context.find("python3-1mib-1vcpu"), std::string::npos) << found.error().context;
  }
}

TEST_F(CatalogTest, SnapshotUnderAnotherNameIsCorrupt) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  std::filesystem::rename(root_ + "/python3-1mib-1vcpu", root_ + "/python3-2mib-1vcpu");
  EXPECT_EQ(catalog.Find({"python3", 2, 1}).error().code, ErrorCode::kCorrupt);
}

TEST_F(CatalogTest, SweepTakesLeftoversAndSparesABuilderAtWork) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  auto working = catalog.Begin(kKey);
  ASSERT_TRUE(working);
  std::filesystem::create_directory(root_ + "/.new-python3-1mib-1vcpu-7");
  std::filesystem::copy(root_ + "/python3-1mib-1vcpu", root_ + "/.old-python3-1mib-1vcpu");
  std::filesystem::copy(root_ + "/python3-1mib-1vcpu", root_ + "/.gone-python3-1mib-1vcpu");
  Catalog second = OpenCatalog();
  EXPECT_EQ(Names(), (std::vector<std::string>{".new-python3-1mib-1vcpu-0", "python3-1mib-1vcpu"}));
  TakeSnapshot(working->state_fd(), working->memory_fd(), 2);
  EXPECT_TRUE(catalog.Publish(std::move(*working), SomeSources()));
  EXPECT_EQ(ValueOf(*second.Find(kKey)), 2);
}

TEST_F(CatalogTest, ReplacementThatStoppedHalfwayShowsTheOldSnapshot) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  std::filesystem::rename(root_ + "/python3-1mib-1vcpu", root_ + "/.old-python3-1mib-1vcpu");
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
  OpenCatalog();
  EXPECT_EQ(Names(), std::vector<std::string>{"python3-1mib-1vcpu"});
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
}

TEST_F(CatalogTest, FunctionSnapshotIsFoundListedAndRemovedBesideItsBase) {
  Catalog catalog = OpenCatalog();
  EXPECT_EQ(PublishFunctionIn(catalog, 7).error().code, ErrorCode::kNotFound);
  const auto base = PublishIn(catalog, 1);
  ASSERT_TRUE(base) << base.error().Message();
  EXPECT_EQ(catalog.Find(kFunctionKey).error().code, ErrorCode::kNotFound);
  const auto manifest = PublishFunctionIn(catalog, 7);
  ASSERT_TRUE(manifest) << manifest.error().Message();
  EXPECT_EQ(manifest->key, kFunctionKey);
  EXPECT_EQ(manifest->base_checksum, base->state_checksum);
  EXPECT_EQ(manifest->stored_bytes, kPageSize);

  const auto found = catalog.Find(kFunctionKey);
  ASSERT_TRUE(found) << found.error().Message();
  EXPECT_EQ(found->manifest, *manifest);
  const auto entries = catalog.List();
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ((*entries)[0].manifest.value(), *base);
  EXPECT_EQ((*entries)[1].folder, "python3-1mib-1vcpu+" + IdentityHash("function"));
  EXPECT_EQ((*entries)[1].manifest.value(), *manifest);

  // Each goes without the other.
  OpenCatalog();
  EXPECT_TRUE(catalog.Remove(kFunctionKey));
  EXPECT_EQ(catalog.Find(kFunctionKey).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
  EXPECT_EQ(Names(), std::vector<std::string>{"python3-1mib-1vcpu"});
}

TEST_F(CatalogTest, FunctionSnapshotIsNotPublishedAsABaseNorABaseAsAFunctions) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  EXPECT_EQ(PublishIn(catalog, 2, kFunctionKey).error().code, ErrorCode::kInvalidArgument);
  auto pending = catalog.Begin(kKey);
  StateFile state = SomeState();
  state.base_checksum = 1;
  state.memory.runs.clear();
  ASSERT_TRUE(WriteAt(pending->state_fd(), 0, EncodeState(state).value(), "state"));
  ASSERT_TRUE(SetSize(pending->memory_fd(), 1_MiB, "memory"));
  EXPECT_EQ(catalog.Publish(std::move(*pending), SomeSources()).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
}

TEST_F(CatalogTest, SavedWorkingSetIsFoundAndReplaced) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  EXPECT_EQ(catalog.Find(kKey)->working_set, std::nullopt);
  for (const WorkingSet& set : {kSet, kNewSet}) {
    const auto saved = SaveIn(catalog, set);
    ASSERT_TRUE(saved) << saved.error().Message();
    EXPECT_EQ(catalog.Find(kKey)->working_set, set);
  }
  EXPECT_EQ(files_.List(root_ + "/python3-1mib-1vcpu").value(),
            (std::vector<std::string>{"manifest.json", "memory", "state", "working_set"}));
}

TEST_F(CatalogTest, WorkingSetsOfABaseAndOfAFunctionAreTheirOwn) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  const auto function = PublishFunctionIn(catalog, 7);
  ASSERT_TRUE(function);
  ASSERT_TRUE(SaveIn(catalog, kSet));
  EXPECT_EQ(catalog.Find(kFunctionKey)->working_set, std::nullopt);
  ASSERT_TRUE(catalog.SaveWorkingSet(kFunctionKey, function->state_checksum, kNewSet));
  EXPECT_EQ(catalog.Find(kKey)->working_set, kSet);
  EXPECT_EQ(catalog.Find(kFunctionKey)->working_set, kNewSet);
}

TEST_F(CatalogTest, WorkingSetOfAReplacedOrMissingSnapshotIsNotKept) {
  Catalog catalog = OpenCatalog();
  EXPECT_EQ(catalog.SaveWorkingSet(kKey, 1, kSet).error().code, ErrorCode::kNotFound);
  const auto old = PublishIn(catalog, 1);
  ASSERT_TRUE(old);
  ASSERT_TRUE(SaveIn(catalog, kSet));
  ASSERT_TRUE(PublishIn(catalog, 2));
  EXPECT_EQ(catalog.Find(kKey)->working_set, std::nullopt) << "a new snapshot begins without one";
  EXPECT_EQ(catalog.SaveWorkingSet(kKey, old->state_checksum, kSet).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(catalog.Find(kKey)->working_set, std::nullopt);
  EXPECT_EQ(catalog.SaveWorkingSet({"../x", 1, 1}, 1, kSet).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(CatalogTest, WorkingSetThatIsDamagedOrStaleIsIgnoredAndReplaced) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  const uint64_t checksum = catalog.Find(kKey)->manifest.state_checksum;
  const std::string path = root_ + "/python3-1mib-1vcpu/working_set";
  auto flipped = EncodeWorkingSet(kSet, checksum);
  flipped[30] ^= 1;
  const std::vector<std::vector<uint8_t>> unusable = {
      {}, flipped, EncodeWorkingSet(kSet, checksum + 1), EncodeWorkingSet({{{256, 1}}, {}}, checksum)};
  for (const auto& bytes : unusable) {
    std::filesystem::remove(path);
    const UniqueFd file = std::move(files_.OpenForWriting(path).value());
    ASSERT_TRUE(WriteAt(file.get(), 0, bytes, "set"));
    const auto found = catalog.Find(kKey);
    ASSERT_TRUE(found) << found.error().Message();
    EXPECT_EQ(found->working_set, std::nullopt);
    EXPECT_EQ(ValueOf(*found), 1);
  }
  ASSERT_TRUE(SaveIn(catalog, kSet));
  EXPECT_EQ(catalog.Find(kKey)->working_set, kSet);
}

TEST_F(CatalogTest, LeftoverOfASaveThatDiedIsOverwrittenAndGoesWithTheSnapshot) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  const std::string leftover = root_ + "/python3-1mib-1vcpu/working_set.new";
  ASSERT_TRUE(files_.OpenForWriting(leftover));
  ASSERT_TRUE(SaveIn(catalog, kSet));
  EXPECT_EQ(catalog.Find(kKey)->working_set, kSet);
  EXPECT_FALSE(std::filesystem::exists(leftover));
  ASSERT_TRUE(files_.OpenForWriting(leftover));
  ASSERT_TRUE(catalog.Remove(kKey));
  EXPECT_TRUE(Names().empty());
}

// Runs `act` with a fault at its first operation, its second, and so on, each time over a fresh catalogue that holds
// the snapshot `before`, until it gets through.
class CatalogFaults : public CatalogTest {
 protected:
  using Act = std::function<bool(Catalog&)>;
  using Inject = std::function<void(FaultInjectingFileSystem&, int operation)>;
  using Check = std::function<void(FaultInjectingFileSystem&, Catalog&, int operation, bool succeeded)>;

  void ForEachOperation(std::optional<uint8_t> before, const Inject& inject, const Act& act, const Check& check) {
    bool succeeded = false;
    for (int operation = 0; !succeeded; ++operation) {
      ASSERT_LT(operation, 100) << "it never gets through";
      const ScratchFolder folder;
      FaultInjectingFileSystem faulty(folder.path().string());
      Catalog catalog = std::move(Catalog::Open(faulty, folder.path().string()).value());
      if (before) {
        ASSERT_TRUE(PublishIn(catalog, *before));
      }
      inject(faulty, operation);
      succeeded = act(catalog) && faulty.operations() <= operation;
      check(faulty, catalog, operation, succeeded);
    }
  }

  // Restarts after a crash at each operation of a publish of the value 2.
  void CrashEverywhere(std::optional<uint8_t> before, Losses losses) {
    ForEachOperation(
        before, [](auto& faulty, int operation) { faulty.CrashAt(operation); },
        [](Catalog& catalog) { return PublishIn(catalog, 2).has_value(); },
        [&](FaultInjectingFileSystem& faulty, Catalog& catalog, int operation, bool succeeded) {
          SCOPED_TRACE(fmt::format("crash at operation {}", operation));
          ASSERT_TRUE(faulty.Restart(losses));
          const auto reopened = Catalog::Open(faulty, catalog.root());
          ASSERT_TRUE(reopened) << reopened.error().Message();
          ExpectOldOrNew(*reopened, before, succeeded);
          // Nothing but the snapshot is left.
          const auto names = faulty.List(catalog.root()).value();
          EXPECT_LE(names.size(), 1U);
          EXPECT_EQ(names.size(), reopened->List()->size());
        });
  }

  static void ExpectOldOrNew(const Catalog& catalog, std::optional<uint8_t> before, bool must_be_new) {
    const auto found = catalog.Find(kKey);
    if (found) {
      const int value = ValueOf(*found);
      EXPECT_TRUE(value == 2 || (!must_be_new && before && value == *before)) << value;
    } else {
      EXPECT_EQ(found.error().code, ErrorCode::kNotFound) << found.error().Message();
      EXPECT_FALSE(before || must_be_new);
    }
  }
};

TEST_F(CatalogFaults, KilledWhilePublishingTheFirst) { CrashEverywhere({}, Losses::kNothing); }
TEST_F(CatalogFaults, KilledWhileReplacing) { CrashEverywhere(1, Losses::kNothing); }
TEST_F(CatalogFaults, PowerCutWhilePublishingTheFirst) { CrashEverywhere({}, Losses::kUnsyncedAnything); }
TEST_F(CatalogFaults, PowerCutWhileReplacing) { CrashEverywhere(1, Losses::kUnsyncedAnything); }
TEST_F(CatalogFaults, PowerCutThatLosesBytesWhilePublishingTheFirst) { CrashEverywhere({}, Losses::kUnsyncedBytes); }
TEST_F(CatalogFaults, PowerCutThatLosesBytesWhileReplacing) { CrashEverywhere(1, Losses::kUnsyncedBytes); }

TEST_F(CatalogFaults, PowerCutWhileRemovingLeavesAllOrNothing) {
  for (const Losses losses : {Losses::kNothing, Losses::kUnsyncedBytes, Losses::kUnsyncedAnything}) {
    ForEachOperation(
        1, [](auto& faulty, int operation) { faulty.CrashAt(operation); },
        [](Catalog& catalog) { return catalog.Remove(kKey).has_value(); },
        [&](FaultInjectingFileSystem& faulty, Catalog& catalog, int operation, bool succeeded) {
          SCOPED_TRACE(operation);
          ASSERT_TRUE(faulty.Restart(losses));
          const auto reopened = Catalog::Open(faulty, catalog.root());
          ASSERT_TRUE(reopened);
          const auto found = reopened->Find(kKey);
          if (found) {
            EXPECT_FALSE(succeeded);
            EXPECT_EQ(ValueOf(*found), 1);
          } else {
            EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
            EXPECT_TRUE(faulty.List(catalog.root())->empty());
          }
        });
  }
}

// The snapshot and the set `before` are there; a set is saved, and the machine fails at each operation of that.
class WorkingSetFaults : public CatalogFaults {
 protected:
  void CrashEverywhere(const std::optional<WorkingSet>& before, Losses losses) {
    bool succeeded = false;
    for (int operation = 0; !succeeded; ++operation) {
      ASSERT_LT(operation, 100) << "it never gets through";
      SCOPED_TRACE(fmt::format("crash at operation {}", operation));
      const ScratchFolder folder;
      FaultInjectingFileSystem faulty(folder.path().string());
      Catalog catalog = std::move(Catalog::Open(faulty, folder.path().string()).value());
      ASSERT_TRUE(PublishIn(catalog, 1));
      if (before) {
        ASSERT_TRUE(SaveIn(catalog, *before));
        // The host has had the time to write its folders.
        ASSERT_TRUE(faulty.SyncFolder(folder.path().string() + "/python3-1mib-1vcpu"));
      }
      faulty.CrashAt(operation);
      succeeded = SaveIn(catalog, kNewSet) && !faulty.crashed();
      ASSERT_TRUE(faulty.Restart(losses));
      auto reopened = Catalog::Open(faulty, catalog.root());
      ASSERT_TRUE(reopened) << reopened.error().Message();
      const auto found = reopened->Find(kKey);
      ASSERT_TRUE(found) << found.error().Message();
      EXPECT_EQ(ValueOf(*found), 1);
      if (succeeded && losses != Losses::kUnsyncedAnything) {
        EXPECT_EQ(found->working_set, kNewSet);
      }
      EXPECT_TRUE(found->working_set == before || found->working_set == kNewSet);
      // And the next recording is kept.
      ASSERT_TRUE(SaveIn(*reopened, kSet));
      EXPECT_EQ(reopened->Find(kKey)->working_set, kSet);
    }
  }
};

TEST_F(WorkingSetFaults, KilledWhileSavingTheFirst) { CrashEverywhere({}, Losses::kNothing); }
TEST_F(WorkingSetFaults, KilledWhileReplacing) { CrashEverywhere(kSet, Losses::kNothing); }
TEST_F(WorkingSetFaults, PowerCutThatLosesBytesWhileSavingTheFirst) { CrashEverywhere({}, Losses::kUnsyncedBytes); }
TEST_F(WorkingSetFaults, PowerCutThatLosesBytesWhileReplacing) { CrashEverywhere(kSet, Losses::kUnsyncedBytes); }
TEST_F(WorkingSetFaults, PowerCutWhileSavingTheFirst) { CrashEverywhere({}, Losses::kUnsyncedAnything); }
TEST_F(WorkingSetFaults, PowerCutWhileReplacing) { CrashEverywhere(kSet, Losses::kUnsyncedAnything); }

TEST_F(WorkingSetFaults, FullDiskAnywhereKeepsTheOld) {
  ForEachOperation(
      1, [](auto& faulty, int operation) { faulty.FailAt(operation, ENOSPC); },
      [](Catalog& catalog) {
        const auto saved = SaveIn(catalog, kSet);
        if (!saved) {
          EXPECT_EQ(saved.error().code, ErrorCode::kResourceExhausted) << saved.error().Message();
        }
        return saved.has_value();
      },
      [&](FaultInjectingFileSystem& faulty, Catalog& catalog, int operation, bool succeeded) {
        SCOPED_TRACE(operation);
        faulty.FailAt(-1, 0);
        const auto found = catalog.Find(kKey);
        ASSERT_TRUE(found) << found.error().Message();
        EXPECT_EQ(ValueOf(*found), 1);
        EXPECT_TRUE(found->working_set == kSet || (!succeeded && !found->working_set));
        EXPECT_TRUE(SaveIn(catalog, kNewSet));
        EXPECT_EQ(catalog.Find(kKey)->working_set, kNewSet);
      });
}

TEST_F(CatalogFaults, FullDiskAnywhereKeepsTheOldAndLeavesNothing) {
  ForEachOperation(
      1, [](auto& faulty, int operation) { faulty.FailAt(operation, ENOSPC); },
      [](Catalog& catalog) {
        const auto published = PublishIn(catalog, 2);
        if (!published) {
          EXPECT_EQ(published.error().code, ErrorCode::kResourceExhausted) << published.error().Message();
        }
        return published.has_value();
      },
      [&](FaultInjectingFileSystem& faulty, Catalog& catalog, int operation, bool succeeded) {
        SCOPED_TRACE(operation);
        const auto found = catalog.Find(kKey);
        ASSERT_TRUE(found) << found.error().Message();
        const int value = ValueOf(*found);
        EXPECT_TRUE(value == 2 || (!succeeded && value == 1));
        EXPECT_EQ(catalog.List()->size(), 1U) << "the old snapshot was not put back";
        // What failed to be removed, the next to open the catalogue removes.
        ASSERT_TRUE(Catalog::Open(faulty, catalog.root()));
        EXPECT_EQ(faulty.List(catalog.root()).value(), std::vector<std::string>{"python3-1mib-1vcpu"});
      });
}

constexpr uint64_t kNoLimit = UINT64_MAX;

SnapshotKey FunctionKey(std::string_view name) { return {"python3", 1, 1, IdentityHash(name)}; }

class CollectTest : public CatalogFaults {
 protected:
  std::string PathOf(const SnapshotKey& key) const { return root_ + "/" + key.FolderName(); }

  void SetUnusedForHours(const SnapshotKey& key, int hours) const {
    std::filesystem::last_write_time(PathOf(key),
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(hours));
  }

  static std::vector<std::string> FoldersOf(const std::vector<Collected::Removed>& removed) {
    std::vector<std::string> folders;
    for (const auto& one : removed) folders.push_back(one.folder);
    return folders;
  }

  static uint64_t DiskBytesOf(const Catalog& catalog, const SnapshotKey& key) {
    const auto entries = catalog.List().value();
    for (const auto& entry : entries) {
      if (entry.folder == key.FolderName()) return entry.disk_bytes;
    }
    ADD_FAILURE() << "no " << key.FolderName();
    return 0;
  }

  static bool LoadsOnItsBase(const Catalog& catalog, const SnapshotKey& key) {
    const auto files = catalog.Find(key);
    const auto base_files = catalog.Find(kKey);
    if (!files || !base_files) return false;
    const auto base = LoadedSnapshot::Load(*base_files, {});
    return base && LoadedSnapshot::LoadFunction(*files, *base, {});
  }
};

TEST_F(CollectTest, FunctionSnapshotsThatCannotBeUsedGoAndTheOthersStay) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey("orphan")));
  ASSERT_TRUE(PublishIn(catalog, 2));
  for (const char* name : {"good", "broken", "other version", "without manifest", "under another name"}) {
    ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey(name)));
  }
  std::ofstream(PathOf(FunctionKey("broken")) + "/manifest.json") << "{}";
  std::ofstream(PathOf(FunctionKey("other version")) + "/manifest.json") << R"({"format_version": 1})";
  std::filesystem::remove(PathOf(FunctionKey("without manifest")) + "/manifest.json");
  std::filesystem::rename(PathOf(FunctionKey("under another name")), PathOf(FunctionKey("renamed")));

  const auto collected = catalog.Collect(kNoLimit);
  ASSERT_TRUE(collected) << collected.error().Message();
  std::vector<std::string> expected;
  for (const char* name : {"orphan", "broken", "other version", "without manifest", "renamed"}) {
    expected.push_back(FunctionKey(name).FolderName());
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(FoldersOf(collected->unusable), expected);
  EXPECT_TRUE(collected->evicted.empty());
  EXPECT_GE(collected->removed_disk_bytes(), expected.size() * kPageSize);
  EXPECT_EQ(collected->bases, 1U);
  EXPECT_EQ(collected->functions, 1U);
  EXPECT_EQ(Names(), (std::vector<std::string>{kKey.FolderName(), FunctionKey("good").FolderName()}));
  EXPECT_TRUE(LoadsOnItsBase(catalog, FunctionKey("good")));
  EXPECT_EQ(collected->disk_bytes, DiskBytesOf(catalog, kKey) + DiskBytesOf(catalog, FunctionKey("good")));
}

TEST_F(CollectTest, FunctionSnapshotsOfARemovedBaseAreListedAsOrphansAndGo) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  EXPECT_TRUE(catalog.List()->back().IsUsable());
  ASSERT_TRUE(catalog.Remove(kKey));
  EXPECT_TRUE(catalog.List()->back().is_orphan);
  EXPECT_FALSE(catalog.List()->back().IsUsable());
  ASSERT_TRUE(catalog.Collect(kNoLimit));
  EXPECT_TRUE(Names().empty());
}

TEST_F(CollectTest, UnusableBaseIsCountedAndLeftWithItsFunctions) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  std::ofstream(PathOf(kKey) + "/manifest.json") << "{}";
  const auto collected = catalog.Collect(kNoLimit);
  ASSERT_TRUE(collected) << collected.error().Message();
  EXPECT_EQ(collected->bases, 1U);
  EXPECT_EQ(collected->unusable_bases, 1U);
  EXPECT_EQ(collected->functions, 1U);
  EXPECT_EQ(Names().size(), 2U);
}

TEST_F(CollectTest, BaseThatACrashLeftAsideKeepsItsFunctions) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  std::filesystem::rename(PathOf(kKey), root_ + "/.old-" + kKey.FolderName());
  EXPECT_FALSE(catalog.List()->back().is_orphan);
  const auto collected = catalog.Collect(kNoLimit);
  ASSERT_TRUE(collected) << collected.error().Message();
  EXPECT_TRUE(collected->unusable.empty());
  EXPECT_EQ(Names(), (std::vector<std::string>{kKey.FolderName(), kFunctionKey.FolderName()})) << "it is back";
  EXPECT_TRUE(LoadsOnItsBase(catalog, kFunctionKey));
}

TEST_F(CollectTest, WhatIsNotOursIsLeft) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  std::filesystem::create_directory(root_ + "/python3-1mib-1vcpu+notes");
  std::ofstream(PathOf(FunctionKey("a file"))) << "a file";
  ASSERT_TRUE(catalog.Collect(0));
  EXPECT_EQ(Names().size(), 3U);
}

TEST_F(CollectTest, LeastRecentlyUsedGoFirstUntilTheRestFits) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  uint64_t disk_bytes = 0;
  for (const char* name : {"a", "b", "c", "d"}) ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey(name)));
  const auto entries = catalog.List().value();
  for (const auto& entry : entries) disk_bytes += entry.disk_bytes;
  SetUnusedForHours(FunctionKey("c"), 5);
  SetUnusedForHours(FunctionKey("a"), 4);
  SetUnusedForHours(FunctionKey("d"), 3);
  SetUnusedForHours(FunctionKey("b"), 2);
  SetUnusedForHours(kKey, 100);
  // Two are to go, and the one that is found is not among them.
  ASSERT_TRUE(catalog.Find(FunctionKey("c")));
  const uint64_t limit = disk_bytes - DiskBytesOf(catalog, FunctionKey("a")) - 1;
  const auto collected = catalog.Collect(limit);
  ASSERT_TRUE(collected) << collected.error().Message();
  EXPECT_EQ(FoldersOf(collected->evicted), (std::vector{FunctionKey("a").FolderName(), FunctionKey("d").FolderName()}));
  EXPECT_TRUE(collected->unusable.empty());
  EXPECT_TRUE(collected->is_within_limit);
  EXPECT_LE(collected->disk_bytes, limit);
  EXPECT_EQ(collected->functions, 2U);
  EXPECT_TRUE(LoadsOnItsBase(catalog, FunctionKey("b")));
  EXPECT_TRUE(LoadsOnItsBase(catalog, FunctionKey("c")));
}

TEST_F(CollectTest, NothingIsEvictedAtTheLimitItself) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  const uint64_t disk_bytes = DiskBytesOf(catalog, kKey) + DiskBytesOf(catalog, kFunctionKey);
  EXPECT_TRUE(catalog.Collect(disk_bytes)->evicted.empty());
  EXPECT_EQ(catalog.Collect(disk_bytes - 1)->evicted.size(), 1U);
}

TEST_F(CollectTest, BaseSnapshotsStayWhateverTheLimit) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  const auto collected = catalog.Collect(0);
  ASSERT_TRUE(collected) << collected.error().Message();
  EXPECT_FALSE(collected->is_within_limit);
  EXPECT_EQ(collected->functions, 0U);
  EXPECT_EQ(collected->base_disk_bytes, collected->disk_bytes);
  EXPECT_EQ(collected->disk_bytes, DiskBytesOf(catalog, kKey));
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
}

TEST_F(CollectTest, PinnedOneStaysUntilItsFilesAreClosed) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  {
    const auto files = catalog.Find(kFunctionKey);
    const auto others = catalog.Find(kFunctionKey);
    ASSERT_TRUE(files && others);
    auto collected = catalog.Collect(0);
    ASSERT_TRUE(collected) << collected.error().Message();
    EXPECT_EQ(collected->pinned_functions, 1U);
    EXPECT_EQ(collected->functions, 1U);
    EXPECT_TRUE(LoadsOnItsBase(catalog, kFunctionKey));
    // Also one that became an orphan: a microVM may be restored from it, and its base, as long as both are open.
    ASSERT_TRUE(PublishIn(catalog, 2));
    collected = catalog.Collect(kNoLimit);
    ASSERT_TRUE(collected) << collected.error().Message();
    EXPECT_EQ(collected->pinned_functions, 1U);
    EXPECT_TRUE(collected->unusable.empty());
  }
  EXPECT_EQ(catalog.Collect(kNoLimit)->unusable.size(), 1U);
}

TEST_F(CollectTest, SnapshotOnDiskIsPinnedByWhatIsSentToAVmmAndOneInMemoryIsNot) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  ASSERT_TRUE(PublishFunctionIn(catalog, 7));
  std::optional<MappedRegion> mapping;
  {
    UniqueFd sent;
    {
      const auto base = LoadedSnapshot::OpenOnDisk(*catalog.Find(kKey), {});
      const auto function = LoadedSnapshot::OpenFunctionOnDisk(*catalog.Find(kFunctionKey), *base);
      ASSERT_TRUE(function) << function.error().Message();
      EXPECT_EQ(catalog.Collect(0)->pinned_functions, 1U) << "by the loaded snapshot";
      sent = UniqueFd(::dup(function->images().overlay));
    }
    EXPECT_EQ(catalog.Collect(0)->pinned_functions, 1U) << "by a descriptor";
    mapping = std::move(MappedRegion::OfFile(sent.get(), 0, kPageSize, PROT_READ, MAP_PRIVATE).value());
  }
  EXPECT_EQ(catalog.Collect(0)->pinned_functions, 1U) << "by a mapping";
  const auto base = LoadedSnapshot::Load(*catalog.Find(kKey), {});
  const auto in_memory = LoadedSnapshot::LoadFunction(*catalog.Find(kFunctionKey), *base, {});
  ASSERT_TRUE(in_memory) << in_memory.error().Message();
  mapping.reset();
  EXPECT_EQ(catalog.Collect(0)->evicted.size(), 1U);
}

TEST_F(CollectTest, PinnedOneCanBeRemovedAndStaysWholeForItsReader) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  const auto files = catalog.Find(kKey);
  ASSERT_TRUE(catalog.Remove(kKey));
  EXPECT_TRUE(Names().empty());
  EXPECT_EQ(ValueOf(*files), 1);
}

TEST_F(CollectTest, SnapshotThatIsBeingTakenIsPublishedAfterwards) {
  Catalog catalog = OpenCatalog();
  ASSERT_TRUE(PublishIn(catalog, 1));
  auto pending = catalog.Begin({"python3", 1, 1});
  ASSERT_TRUE(pending);
  TakeSnapshot(pending->state_fd(), pending->memory_fd(), 2);
  Catalog other = OpenCatalog();
  ASSERT_TRUE(other.Collect(0));
  const auto published = catalog.Publish(std::move(*pending), SomeSources());
  ASSERT_TRUE(published) << published.error().Message();
  EXPECT_EQ(ValueOf(*other.Find(kKey)), 2);
}

TEST_F(CollectTest, CollectorsPublishersAndReadersDoNotMeet) {
  constexpr int kRounds = 20;
  // flock promises nobody a turn among those who ask again at once.
  constexpr auto kPause = std::chrono::milliseconds(1);
  Catalog first = OpenCatalog();
  ASSERT_TRUE(PublishIn(first, 1));
  std::atomic<size_t> removed = 0;
  std::atomic<bool> done = false;
  const auto collect = [&] {
    Catalog catalog = OpenCatalog();
    while (!done) {
      const auto collected = catalog.Collect(0);
      EXPECT_TRUE(collected) << collected.error().Message();
      if (collected) {
        removed += collected->evicted.size();
        EXPECT_TRUE(collected->unusable.empty());
      }
      std::this_thread::sleep_for(kPause);
    }
  };
  std::thread one(collect);
  std::thread other(collect);
  std::thread reader([&] {
    const Catalog catalog = OpenCatalog();
    while (!done) {
      auto found = catalog.Find(kFunctionKey);
      if (found) {
        // Pinned: nobody takes it away.
        EXPECT_TRUE(std::filesystem::exists(PathOf(kFunctionKey)));
      } else {
        EXPECT_EQ(found.error().code, ErrorCode::kNotFound) << found.error().Message();
      }
      found = Fail(ErrorCode::kNotFound, "closed");
      std::this_thread::sleep_for(kPause);
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_TRUE(PublishFunctionIn(first, 7));
    while (std::filesystem::exists(PathOf(kFunctionKey))) std::this_thread::yield();
  }
  done = true;
  for (std::thread* thread : {&one, &other, &reader}) thread->join();
  EXPECT_EQ(removed, kRounds);
  EXPECT_EQ(Names(), std::vector<std::string>{kKey.FolderName()});
}

// A base, a function snapshot of an earlier base and two of this one; the machine fails at each operation of a
// collection that removes two of them.
class CollectFaults : public CollectTest {
 protected:
  using Inject = std::function<void(FaultInjectingFileSystem&, int operation)>;

  void ForEachOperationOfACollection(const Inject& inject, const Inject& mend) {
    bool succeeded = false;
    for (int operation = 0; !succeeded; ++operation) {
      ASSERT_LT(operation, 100) << "it never gets through";
      SCOPED_TRACE(fmt::format("operation {}", operation));
      const ScratchFolder folder;
      root_ = folder.path().string();
      FaultInjectingFileSystem faulty(root_);
      Catalog catalog = std::move(Catalog::Open(faulty, root_).value());
      ASSERT_TRUE(PublishIn(catalog, 1));
      ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey("orphan")));
      ASSERT_TRUE(PublishIn(catalog, 2));
      ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey("old")));
      ASSERT_TRUE(PublishFunctionIn(catalog, 7, FunctionKey("recent")));
      SetUnusedForHours(FunctionKey("old"), 1);
      const uint64_t limit = DiskBytesOf(catalog, kKey) + DiskBytesOf(catalog, FunctionKey("recent"));
      inject(faulty, operation);
      const auto collected = catalog.Collect(limit);
      succeeded = collected && faulty.operations() <= operation;
      if (collected) {
        EXPECT_EQ(collected->unusable.size(), 1U);
        EXPECT_EQ(collected->evicted.size(), 1U);
      }
      mend(faulty, operation);
      ExpectWhole(faulty, succeeded);
    }
  }

  void ExpectWhole(FaultInjectingFileSystem& faulty, bool succeeded) {
    const auto reopened = Catalog::Open(faulty, root_);
    ASSERT_TRUE(reopened) << reopened.error().Message();
    EXPECT_EQ(ValueOf(*reopened->Find(kKey)), 2);
    EXPECT_TRUE(LoadsOnItsBase(*reopened, FunctionKey("recent")));
    for (const char* name : {"orphan", "old"}) {
      const auto found = reopened->Find(FunctionKey(name));
      EXPECT_FALSE(found && succeeded) << name;
      if (!found) {
        EXPECT_EQ(found.error().code, ErrorCode::kNotFound) << found.error().Message();
      }
    }
    if (reopened->Find(FunctionKey("old"))) {
      EXPECT_TRUE(LoadsOnItsBase(*reopened, FunctionKey("old")));
    }
    // No half snapshot is left, in sight or out of it.
    const auto names = faulty.List(root_).value();
    for (const auto& name : names) {
      EXPECT_EQ(faulty.List(root_ + "/" + name)->size(), 3U) << name;
      EXPECT_FALSE(name.starts_with('.')) << name;
    }
    // The next one gets through.
    auto again = std::move(Catalog::Open(faulty, root_).value());
    ASSERT_TRUE(again.Collect(0));
    EXPECT_EQ(Names(), std::vector<std::string>{kKey.FolderName()});
  }
};

TEST_F(CollectFaults, CrashAnywhereLeavesWholeSnapshots) {
  for (const Losses losses : {Losses::kNothing, Losses::kUnsyncedBytes, Losses::kUnsyncedAnything}) {
    ForEachOperationOfACollection([](auto& faulty, int operation) { faulty.CrashAt(operation); },
                                  [losses](auto& faulty, int) { ASSERT_TRUE(faulty.Restart(losses)); });
  }
}

TEST_F(CollectFaults, FailureAnywhereLeavesWholeSnapshots) {
  ForEachOperationOfACollection([](auto& faulty, int operation) { faulty.FailAt(operation, EIO); },
                                [](auto& faulty, int) { faulty.FailAt(-1, 0); });
}

TEST_F(CollectFaults, UseThatCannotBeNotedIsAUse) {
  FaultInjectingFileSystem faulty(folder_.path().string());
  Catalog catalog = std::move(Catalog::Open(faulty, root_).value());
  ASSERT_TRUE(PublishIn(catalog, 1));
  faulty.FailAt(0, EROFS);
  EXPECT_EQ(ValueOf(*catalog.Find(kKey)), 1);
  EXPECT_EQ(faulty.operations(), 1);
}

}  // namespace
}  // namespace snapfaas::snapshot
