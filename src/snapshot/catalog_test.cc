#include "snapshot/catalog.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <optional>

#include "base/fault_injecting_file_system.h"
#include "snapshot/store.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

const SnapshotKey kKey{"python3", 1, 1};

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() : root_(folder_.path() + "/snapshots") {}

  Catalog OpenCatalog() { return std::move(Catalog::Open(files_, root_).value()); }

  static Result<Manifest> PublishIn(Catalog& catalog, uint8_t value, const SnapshotKey& key = kKey) {
    auto pending = catalog.Begin(key);
    if (!pending) return Forward(pending.error());
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), value);
    return catalog.Publish(std::move(*pending), SomeSources());
  }

  // The byte that fills page 3 of the snapshot, which must load whole.
  static int ValueOf(const SnapshotFiles& files) {
    const auto loaded = InMemorySnapshot::Load(files, {});
    EXPECT_TRUE(loaded) << loaded.error().Message();
    if (!loaded) return -1;
    uint8_t value = 0;
    EXPECT_TRUE(ReadAt(loaded->memory_fd(), 3 * kPageSize, {&value, 1}, "image"));
    return value;
  }

  std::vector<std::string> Names() { return files_.List(root_).value(); }

  TempFolder folder_;
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
      const TempFolder folder;
      FaultInjectingFileSystem faulty(folder.path());
      Catalog catalog = std::move(Catalog::Open(faulty, folder.path()).value());
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

}  // namespace
}  // namespace snapfaas::snapshot
