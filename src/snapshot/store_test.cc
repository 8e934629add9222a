#include "snapshot/store.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include "base/file_system.h"
#include "base/scratch_folder_for_tests.h"
#include "snapshot/catalog.h"
#include "snapshot/kernel_text.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

Result<LoadedSnapshot> OpenOnDisk(const SnapshotFiles& files, const MemorySources& sources) {
  return LoadedSnapshot::OpenOnDisk(files, sources);
}

// A published snapshot whose files the tests alter.
class Store : public testing::Test {
 protected:
  Store() : catalog_(Catalog::Open(files_, folder_.path().string()).value()) {
    auto pending = catalog_.Begin(kKey);
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), 0xaa);
    EXPECT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  }

  SnapshotFiles Find() { return catalog_.Find(kKey).value(); }

  UniqueFd Writable(const std::string& name) {
    return UniqueFd(
        ::open((folder_.path().string() + "/" + kKey.FolderName() + "/" + name).c_str(), O_RDWR | O_CLOEXEC));
  }

  void FlipByte(const std::string& name, uint64_t at) {
    const UniqueFd file = Writable(name);
    uint8_t byte = 0;
    ASSERT_TRUE(ReadAt(file.get(), at, {&byte, 1}, name));
    byte ^= 0x40;
    ASSERT_TRUE(WriteAt(file.get(), at, {&byte, 1}, name));
  }

  // Replaces the published snapshot by one of a VM that was booted from these.
  void PublishWith(const MemorySources& sources) {
    auto pending = catalog_.Begin(kKey);
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), 0xaa, sources);
    EXPECT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  }

  static void ExpectRefused(const SnapshotFiles& files, ErrorCode code, const MemorySources& sources = {}) {
    const auto loaded = LoadedSnapshot::Load(files, sources);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, code);
    EXPECT_NE(loaded.error().context.find("snapfaas runtime build"), std::string::npos) << loaded.error().context;
  }

  static RestorePlan PlanOf(const LoadedSnapshot& loaded) {
    auto plan = ReadPlan(loaded.plan_fd(), loaded.manifest().memory_bytes);
    EXPECT_TRUE(plan) << plan.error().Message();
    return plan ? *plan : RestorePlan();
  }

  // What a VMM that restores it has in memory, by mapping as by copying.
  static GuestMemory Restored(const LoadedSnapshot& loaded) {
    GuestMemory mapped = MakeMemory(1_MiB);
    GuestMemory copied = MakeMemory(1_MiB);
    const auto map = MapMemory(loaded.images(), PlanOf(loaded), mapped);
    EXPECT_TRUE(map) << map.error().Message();
    const auto copy = CopyMemory(loaded.images(), PlanOf(loaded), copied);
    EXPECT_TRUE(copy) << copy.error().Message();
    ExpectSame(copied, mapped);
    return mapped;
  }

  static uint8_t ByteOf(const GuestMemory& memory, uint64_t page) {
    return memory.ReadObject<uint8_t>(GuestAddress(page * kPageSize)).value();
  }

  static void ExpectSame(const GuestMemory& one, const GuestMemory& other) {
    for (uint64_t at = 0; at < 1_MiB; at += kPageSize) {
      EXPECT_EQ(std::memcmp(one.host_base() + at, other.host_base() + at, kPageSize), 0) << "page " << at / kPageSize;
    }
  }

  ScratchFolder folder_;
  PosixFileSystem files_;
  Catalog catalog_;
};

TEST_F(Store, LoadedSnapshotRestoresByCopyAndByMapping) {
  const auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  const auto state = ReadState(loaded->state_fd());
  ASSERT_TRUE(state);
  EXPECT_EQ(state->sections, SomeState().sections);
  GuestMemory copied = MakeMemory(1_MiB);
  ASSERT_TRUE(CopyMemory(loaded->images(), RestorePlan(), copied));
  GuestMemory mapped = MakeMemory(1_MiB);
  ASSERT_TRUE(MapMemory(loaded->images(), RestorePlan(), mapped));
  EXPECT_EQ(std::memcmp(copied.host_base(), mapped.host_base(), 1_MiB), 0);
  EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress(9 * kPageSize)).value(), 0xaa);
  EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress(8 * kPageSize)).value(), 0);
}

TEST_F(Store, ResidentBytesAreThePagesAndTheState) {
  const auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  // Two pages of memory, and one each for state and plan.
  EXPECT_EQ(loaded->resident_bytes(), 4 * kPageSize);
}

TEST_F(Store, NobodyCanChangeALoadedSnapshot) {
  const auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  for (const int fd : {loaded->state_fd(), loaded->images().image, loaded->plan_fd()}) {
    const char byte = 1;
    EXPECT_EQ(::pwrite(fd, &byte, 1, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(fd, 1), -1);
    EXPECT_EQ(::ftruncate(fd, 64_MiB), -1);
    EXPECT_EQ(::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  }
}

TEST_F(Store, TwoVmsWriteWithoutSeeingEachOther) {
  const auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  GuestMemory one = MakeMemory(1_MiB);
  GuestMemory two = MakeMemory(1_MiB);
  ASSERT_TRUE(one.MapPrivateImage(loaded->images().image));
  ASSERT_TRUE(two.MapPrivateImage(loaded->images().image));
  FillPage(one, 3, 1);
  FillPage(two, 3, 2);
  EXPECT_EQ(one.ReadObject<uint8_t>(GuestAddress(3 * kPageSize)).value(), 1);
  EXPECT_EQ(two.ReadObject<uint8_t>(GuestAddress(3 * kPageSize)).value(), 2);
  uint8_t stored = 0;
  ASSERT_TRUE(ReadAt(loaded->images().image, 3 * kPageSize, {&stored, 1}, "image"));
  EXPECT_EQ(stored, 0xaa);
}

TEST_F(Store, OutlivesItsFolder) {
  const auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  ASSERT_TRUE(catalog_.Remove(kKey));
  EXPECT_TRUE(ReadState(loaded->state_fd()));
}

TEST_F(Store, FlippedByteOfTheMemoryIsRefused) {
  FlipByte("memory", 9 * kPageSize + 123);
  ExpectRefused(Find(), ErrorCode::kCorrupt);
}

TEST_F(Store, HoleFilledWithDataIsRefused) {
  FlipByte("memory", 20 * kPageSize);
  ExpectRefused(Find(), ErrorCode::kCorrupt);
}

TEST_F(Store, EveryFlippedByteOfTheStateIsRefused) {
  const SnapshotFiles files = Find();
  for (uint64_t at = 0; at < files.manifest.state_bytes; ++at) {
    FlipByte("state", at);
    EXPECT_FALSE(LoadedSnapshot::Load(files, {})) << at;
    FlipByte("state", at);
  }
  EXPECT_TRUE(LoadedSnapshot::Load(files, {}));
}

TEST_F(Store, TruncatedStateIsRefused) {
  const SnapshotFiles files = Find();
  ASSERT_TRUE(SetSize(Writable("state").get(), files.manifest.state_bytes - 1, "state"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, TruncatedMemoryIsRefused) {
  const SnapshotFiles files = Find();
  ASSERT_TRUE(SetSize(Writable("memory").get(), 1_MiB - kPageSize, "memory"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, StateOfAnotherSnapshotIsRefused) {
  SnapshotFiles files = Find();
  StateFile other = ReadState(files.state.get()).value();
  other.machine.device_set_hash ^= 1;
  ASSERT_TRUE(WriteAt(Writable("state").get(), 0, EncodeState(other).value(), "state"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, StateOfAnotherVersionIsIncompatible) {
  const uint8_t version = kFormatVersion + 1;
  ASSERT_TRUE(WriteAt(Writable("state").get(), 8, {&version, 1}, "state"));
  ExpectRefused(Find(), ErrorCode::kIncompatible);
}

TEST_F(Store, CleanPagesComeFromTheRuntimesKernel) {
  const UniqueFd kernel = MakeSource({0x01, 0xaa});
  PublishWith({kernel.get()});
  const SnapshotFiles files = Find();
  EXPECT_EQ(files.manifest.stored_bytes, 0U);
  const auto loaded = LoadedSnapshot::Load(files, {kernel.get()});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->resident_bytes(), 4 * kPageSize);
  GuestMemory mapped = MakeMemory(1_MiB);
  ASSERT_TRUE(mapped.MapPrivateImage(loaded->images().image));
  for (const uint64_t page : {uint64_t{3}, uint64_t{9}}) {
    EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress((page + 1) * kPageSize - 1)).value(), 0xaa);
  }
}

TEST_F(Store, ChangedRuntimeImageIsRefused) {
  const UniqueFd kernel = MakeSource({0xaa});
  PublishWith({kernel.get()});
  const UniqueFd changed = MakeSource({0xab});
  ExpectRefused(Find(), ErrorCode::kIncompatible, {changed.get()});
}

TEST_F(Store, OnDiskKeepsNoMemoryAndRestoresTheSame) {
  const UniqueFd kernel = MakeSource({0x01, 0xaa});
  PublishWith({kernel.get()});
  const auto in_memory = LoadedSnapshot::Load(Find(), {kernel.get()});
  const auto on_disk = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()});
  ASSERT_TRUE(in_memory) << in_memory.error().Message();
  ASSERT_TRUE(on_disk) << on_disk.error().Message();
  EXPECT_EQ(on_disk->manifest(), in_memory->manifest());
  // One page each for state and plan.
  EXPECT_EQ(on_disk->resident_bytes(), 2 * kPageSize);
  const RestorePlan plan = PlanOf(*on_disk);
  EXPECT_EQ(plan.read_ahead, ReadAhead::kYes);
  EXPECT_EQ(plan.extents, (std::vector<MapExtent>{{{3, 1}, ImageFile::kKernel, 1}, {{9, 1}, ImageFile::kKernel, 1}}));
  EXPECT_EQ(PlanOf(*in_memory), RestorePlan());
  const GuestMemory memory = Restored(*on_disk);
  EXPECT_EQ(ByteOf(memory, 3), 0xaa);
  ExpectSame(memory, Restored(*in_memory));
}

TEST_F(Store, OnDiskVerifiesTheStateAndNotTheMemory) {
  FlipByte("memory", 9 * kPageSize + 123);
  EXPECT_TRUE(LoadedSnapshot::OpenOnDisk(Find(), {}));
  FlipByte("state", 100);
  const auto opened = LoadedSnapshot::OpenOnDisk(Find(), {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
}

TEST_F(Store, NeighboursInTheKernelAreOneExtent) {
  const UniqueFd kernel = MakeSource({0x10, 0x11, 0x12, 0x13});
  auto pending = catalog_.Begin(kKey);
  GuestMemory memory = MakeMemory(1_MiB);
  for (uint8_t page = 0; page < 4; ++page) FillPage(memory, 20 + page, 0x10 + page);
  for (uint8_t page = 0; page < 2; ++page) FillPage(memory, 24 + page, 0x12 + page);
  StateFile state = SomeState();
  state.memory = WriteMemoryImage(pending->memory_fd(), memory, {kernel.get()}).value();
  ASSERT_TRUE(WriteAt(pending->state_fd(), 0, EncodeState(state).value(), "state"));
  ASSERT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  const auto loaded = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(PlanOf(*loaded).extents,
            (std::vector<MapExtent>{{{20, 4}, ImageFile::kKernel, 0}, {{24, 2}, ImageFile::kKernel, 2}}));
  ExpectSame(Restored(*loaded), memory);
}

const WorkingSet kSomeSet = {{{0, 3}, {20, 5}}, {{3, 1}, {9, 1}}};

TEST_F(Store, WorkingSetOfTheCatalogueIsInThePlan) {
  EXPECT_FALSE(LoadedSnapshot::Load(Find(), {})->has_working_set());
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  for (const auto& loaded : {LoadedSnapshot::Load(Find(), {}), LoadedSnapshot::OpenOnDisk(Find(), {})}) {
    ASSERT_TRUE(loaded) << loaded.error().Message();
    EXPECT_TRUE(loaded->has_working_set());
    EXPECT_EQ(PlanOf(*loaded).read, kSomeSet.read);
    EXPECT_EQ(PlanOf(*loaded).written, kSomeSet.written);
  }
}

// Packs the working set of the snapshot that `find` finds, as whoever opens it first does.
template <typename Find>
void PackPages(Catalog& catalog, Find find, const LoadedSnapshot& loaded) {
  const SnapshotFiles files = find();
  const auto saved = catalog.SaveWorkingPages(files.manifest.key, files.manifest.state_checksum,
                                              [&](int fd) { return loaded.WriteWorkingPages(fd, *files.working_set); });
  ASSERT_TRUE(saved) << saved.error().Message();
  ASSERT_TRUE(find().working_pages.valid());
}

TEST_F(Store, PackedPagesRestoreTheSameFromDisk) {
  const UniqueFd kernel = MakeSource({0x01, 0xaa});
  PublishWith({kernel.get()});
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  const auto without = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()});
  ASSERT_TRUE(without) << without.error().Message();
  PackPages(
      catalog_, [this] { return Find(); }, *without);
  const auto with = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()});
  ASSERT_TRUE(with) << with.error().Message();
  // The runs of the set are one with the pages between them, and lie behind the file's first page.
  const RestorePlan plan = PlanOf(*with);
  EXPECT_EQ(std::count_if(plan.extents.begin(), plan.extents.end(),
                          [](const MapExtent& extent) { return extent.file == ImageFile::kPacked; }),
            2);
  EXPECT_EQ(plan.extents[plan.extents.size() - 2], (MapExtent{{0, 10}, ImageFile::kPacked, 1}));
  EXPECT_EQ(plan.extents.back(), (MapExtent{{20, 5}, ImageFile::kPacked, 11}));
  EXPECT_EQ(ByteOf(Restored(*with), 9), 0xaa);
  ExpectSame(Restored(*with), Restored(*without));
}

// A kernel with nothing but a text: 512 pages of 0xaa from page 512 on.
UniqueFd KernelWithText() {
  ScratchFolder folder;
  PosixFileSystem files;
  const std::string kernel = (folder.path() / "vmlinux").string();
  const std::string running = (folder.path() / "running").string();
  std::vector<uint8_t> bytes(kPageSize);
  PutElfHeaders(bytes, PF_R | PF_X, 0, kHugePageSize);
  EXPECT_TRUE(WriteAt(files.OpenForWriting(kernel).value().get(), 0, bytes, "kernel"));
  GuestMemory memory = MakeMemory(kHugePageSize);
  for (uint64_t page = 0; page < kHugePageSize / kPageSize; ++page) FillPage(memory, page, 0xaa);
  const UniqueFd image = MakeMemoryFile();
  const MemoryMap map = WriteMemoryImage(image.get(), memory, {}).value();
  EXPECT_TRUE(MakeRunningKernel(files, kernel, running, image.get(), map).value());
  return std::move(files.OpenForReading(running).value());
}

TEST_F(Store, TheKernelsTextIsInMemoryOnDiskToo) {
  const UniqueFd kernel = KernelWithText();
  PublishWith({kernel.get()});
  const auto text = KernelText::Load(kernel.get()).value();
  ASSERT_NE(text, nullptr);
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  const auto on_disk = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()}, text);
  ASSERT_TRUE(on_disk) << on_disk.error().Message();
  EXPECT_EQ(on_disk->images().kernel_text, text->fd());
  for (const MapExtent& extent : PlanOf(*on_disk).extents) EXPECT_EQ(extent.file, ImageFile::kKernelText);
  EXPECT_EQ(ByteOf(Restored(*on_disk), 3), 0xaa);

  // Packed pages do not cover it.
  PackPages(
      catalog_, [this] { return Find(); }, *on_disk);
  const auto packed = LoadedSnapshot::OpenOnDisk(Find(), {kernel.get()}, text);
  ASSERT_TRUE(packed) << packed.error().Message();
  std::map<uint32_t, ImageFile> files;
  for (const MapExtent& extent : PlanOf(*packed).extents) {
    for (uint32_t i = 0; i < extent.run.pages; ++i) files[extent.run.first_page + i] = extent.file;
  }
  for (const uint32_t page : {3U, 9U}) EXPECT_EQ(files.at(page), ImageFile::kKernelText) << page;
  for (const uint32_t page : {0U, 4U, 20U}) EXPECT_EQ(files.at(page), ImageFile::kPacked) << page;
  ExpectSame(Restored(*packed), Restored(*on_disk));
  ExpectSame(Restored(*packed), Restored(*LoadedSnapshot::Load(Find(), {kernel.get()})));
}

TEST_F(Store, PagesThatArePackedForAnotherSetAreLeftAside) {
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  PackPages(
      catalog_, [this] { return Find(); }, *LoadedSnapshot::OpenOnDisk(Find(), {}));
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, {{{200, 1}}, {}}));
  EXPECT_FALSE(Find().working_pages.valid());
}

TEST_F(Store, PackedPagesThatAreDamagedOrTruncatedAreLeftAside) {
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  PackPages(
      catalog_, [this] { return Find(); }, *LoadedSnapshot::OpenOnDisk(Find(), {}));
  for (uint64_t at = 0; at < kPageSize; at += 3) {
    FlipByte("working_pages", at);
    EXPECT_FALSE(Find().working_pages.valid()) << at;
    FlipByte("working_pages", at);
  }
  EXPECT_TRUE(Find().working_pages.valid());
  const uint64_t size = SizeOf(Find().working_pages.get(), "pages").value();
  ASSERT_TRUE(SetSize(Writable("working_pages").get(), size - 1, "pages"));
  EXPECT_FALSE(Find().working_pages.valid());
  EXPECT_TRUE(LoadedSnapshot::OpenOnDisk(Find(), {}));
}

TEST_F(Store, UsesAWorkingSetFromNowOn) {
  auto loaded = LoadedSnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(loaded->has_working_set());
  const UniqueFd before(::dup(loaded->plan_fd()));
  ASSERT_TRUE(loaded->UseWorkingSet(kSomeSet));
  EXPECT_TRUE(loaded->has_working_set());
  EXPECT_EQ(PlanOf(*loaded).written, kSomeSet.written);
  // A VMM that was sent the plan before reads what it was sent.
  EXPECT_EQ(ReadPlan(before.get(), 1_MiB).value(), RestorePlan());
  const char byte = 1;
  EXPECT_EQ(::pwrite(loaded->plan_fd(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST_F(Store, RegionsThatAreReadStayRightWhenTheyBecomeHuge) {
  // A VM of 8 MiB, every page its own, all of it read and one page written.
  auto pending = catalog_.Begin({"python3", 8, 1});
  GuestMemory memory = MakeMemory(8_MiB);
  for (uint64_t page = 0; page < 8_MiB / kPageSize; ++page) {
    ASSERT_TRUE(memory.WriteObject(GuestAddress(page * kPageSize), page + 1));
  }
  StateFile state = SomeState();
  state.machine.memory_bytes = 8_MiB;
  state.memory = WriteMemoryImage(pending->memory_fd(), memory, {}).value();
  ASSERT_TRUE(WriteAt(pending->state_fd(), 0, EncodeState(state).value(), "state"));
  ASSERT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  auto loaded = LoadedSnapshot::Load(catalog_.Find({"python3", 8, 1}).value(), {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  ASSERT_TRUE(loaded->UseWorkingSet({{{0, 700}, {701, 2048 - 701}}, {{700, 1}}}));
  GuestMemory restored = MakeMemory(8_MiB);
  ASSERT_TRUE(MapMemory(loaded->images(), RestorePlan(), restored));
  EXPECT_EQ(std::memcmp(restored.host_base(), memory.host_base(), 8_MiB), 0);
}

// On the base, a VM that went on in several ways: page 3 holds other bytes, page 9 is zero, pages 6 and 20 are new.
class FunctionLayer : public Store {
 protected:
  FunctionLayer() : kernel_(MakeSource({0x01, 0xaa, 0xcc})), restored_(MakeMemory(1_MiB)) {
    PublishWith({});
    base_ = LoadBase(&LoadedSnapshot::Load);
    TakeOver(*base_);
  }

  using Loader = Result<LoadedSnapshot> (*)(const SnapshotFiles&, const MemorySources&);

  std::optional<LoadedSnapshot> LoadBase(Loader load) {
    auto loaded = load(Find(), {kernel_.get()});
    EXPECT_TRUE(loaded) << loaded.error().Message();
    if (!loaded) return std::nullopt;
    return std::move(*loaded);
  }

  // Takes and publishes the function snapshot of a VM that was restored from this base.
  void TakeOver(const LoadedSnapshot& base) {
    const RestorePlan plan = PlanOf(base);
    GuestMemory untouched = MakeMemory(1_MiB);
    ASSERT_TRUE(MapMemory(base.images(), plan, untouched));
    restored_ = MakeMemory(1_MiB);
    ASSERT_TRUE(MapMemory(base.images(), plan, restored_));
    FillPage(restored_, 3, 0xbb);
    FillPage(restored_, 6, 0x66);
    FillPage(restored_, 9, 0);
    FillPage(restored_, 20, 0xcc);
    FillPage(restored_, 30, 0);  // as it was
    auto pending = catalog_.Begin(kFunctionKey);
    TakeFunctionSnapshot(pending->state_fd(), pending->memory_fd(), restored_, base.state_fd(), untouched);
    const auto published = catalog_.Publish(std::move(*pending), SomeSources());
    ASSERT_TRUE(published) << published.error().Message();
  }

  SnapshotFiles FindFunction() { return catalog_.Find(kFunctionKey).value(); }

  UniqueFd kernel_;
  GuestMemory restored_;
  std::optional<LoadedSnapshot> base_;
};

TEST_F(FunctionLayer, RestoresWhatTheVmHeld) {
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->manifest().stored_bytes, 3 * kPageSize);
  const GuestMemory memory = Restored(*loaded);
  EXPECT_EQ(ByteOf(memory, 3), 0xbb);
  EXPECT_EQ(ByteOf(memory, 9), 0) << "a page of zeroes must lie over the base's";
  ExpectSame(memory, restored_);
  // The base is as it was.
  EXPECT_EQ(ByteOf(Restored(*base_), 9), 0xaa);
}

TEST_F(FunctionLayer, DifferencesThatLieCloseAreMappedTogether) {
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  // Pages 3 to 9 with the base's between them; ten pages lie between 9 and 20.
  EXPECT_EQ(PlanOf(*loaded).extents,
            (std::vector<MapExtent>{{{3, 7}, ImageFile::kOverlay, 3}, {{20, 1}, ImageFile::kOverlay, 20}}));
}

TEST_F(FunctionLayer, PagesOfTheBaseFillTheGaps) {
  restored_ = MakeMemory(1_MiB);
  ASSERT_TRUE(MapMemory(base_->images(), RestorePlan(), restored_));
  GuestMemory untouched = MakeMemory(1_MiB);
  ASSERT_TRUE(MapMemory(base_->images(), RestorePlan(), untouched));
  // Page 3 and 9 of the base lie in the gaps; eight pages between two others are one gap, nine are not.
  for (const uint32_t page : {2U, 4U, 8U, 10U, 19U, 29U}) FillPage(restored_, page, 0x77);
  auto pending = catalog_.Begin(kFunctionKey);
  TakeFunctionSnapshot(pending->state_fd(), pending->memory_fd(), restored_, base_->state_fd(), untouched);
  ASSERT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(PlanOf(*loaded).extents,
            (std::vector<MapExtent>{{{2, 18}, ImageFile::kOverlay, 2}, {{29, 1}, ImageFile::kOverlay, 29}}));
  const GuestMemory memory = Restored(*loaded);
  EXPECT_EQ(ByteOf(memory, 3), 0xaa);
  EXPECT_EQ(ByteOf(memory, 9), 0xaa);
  ExpectSame(memory, restored_);
}

TEST_F(FunctionLayer, TakesOnlyWhatDiffersOfTheHostsMemory) {
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  // The pages of its two extents, without 9, which nobody wrote, and one each for state and plan.
  EXPECT_EQ(loaded->resident_bytes(), (7 - 1 + 1 + 2) * kPageSize);
}

TEST_F(FunctionLayer, NobodyCanChangeItsFiles) {
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  for (const int fd : {loaded->state_fd(), loaded->images().image, loaded->images().overlay, loaded->plan_fd()}) {
    const char byte = 1;
    EXPECT_EQ(::pwrite(fd, &byte, 1, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(fd, 1), -1);
    EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  }
}

TEST_F(FunctionLayer, OutlivesItsBase) {
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  base_.reset();
  ASSERT_TRUE(catalog_.Remove(kKey));
  ExpectSame(Restored(*loaded), restored_);
}

TEST_F(FunctionLayer, FromDiskIsTheSame) {
  const auto base = LoadBase(&OpenOnDisk);
  const auto loaded = LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base);
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(PlanOf(*loaded).read_ahead, ReadAhead::kYes);
  EXPECT_EQ(loaded->resident_bytes(), 2 * kPageSize);
  ExpectSame(Restored(*loaded), restored_);
}

TEST_F(FunctionLayer, FromDiskWithPackedPagesOfBothIsTheSame) {
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  PackPages(
      catalog_, [this] { return Find(); }, *LoadBase(&OpenOnDisk));
  const auto base = LoadBase(&OpenOnDisk);
  EXPECT_GE(base->images().packed, 0);
  const auto plain = LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base);
  ASSERT_TRUE(plain) << plain.error().Message();
  // What its base has packed may have changed here.
  EXPECT_LT(plain->images().packed, 0);
  ExpectSame(Restored(*plain), restored_);
  ASSERT_TRUE(catalog_.SaveWorkingSet(kFunctionKey, FindFunction().manifest.state_checksum, kSomeSet));
  PackPages(
      catalog_, [this] { return FindFunction(); }, *plain);
  const auto packed = LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base);
  ASSERT_TRUE(packed) << packed.error().Message();
  EXPECT_GE(packed->images().packed, 0);
  ExpectSame(Restored(*packed), restored_);
}

TEST_F(FunctionLayer, OverTheKernelsPagesIsTheSameFromMemoryAndFromDisk) {
  // Pages 3 and 9 of the base now are the kernel's.
  PublishWith({kernel_.get()});
  base_ = LoadBase(&LoadedSnapshot::Load);
  TakeOver(*base_);
  const auto in_memory = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {kernel_.get()});
  ASSERT_TRUE(in_memory) << in_memory.error().Message();
  ExpectSame(Restored(*in_memory), restored_);
  const auto base = LoadBase(&OpenOnDisk);
  const auto on_disk = LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base);
  ASSERT_TRUE(on_disk) << on_disk.error().Message();
  ExpectSame(Restored(*on_disk), restored_);
  EXPECT_EQ(ByteOf(Restored(*base), 9), 0xaa);
}

TEST_F(FunctionLayer, FromDiskHasThePagesThatItsBaseHasPacked) {
  // The kernel's page 9 is among what the base has packed, and the function leaves it as it is.
  PublishWith({kernel_.get()});
  ASSERT_TRUE(catalog_.SaveWorkingSet(kKey, Find().manifest.state_checksum, kSomeSet));
  PackPages(
      catalog_, [this] { return Find(); }, *LoadBase(&OpenOnDisk));
  const auto base = LoadBase(&OpenOnDisk);
  ASSERT_GE(base->images().packed, 0);
  GuestMemory untouched = Restored(*base);
  GuestMemory changed = Restored(*base);
  FillPage(changed, 20, 0x77);
  auto pending = catalog_.Begin(kFunctionKey);
  TakeFunctionSnapshot(pending->state_fd(), pending->memory_fd(), changed, base->state_fd(), untouched);
  ASSERT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  const auto loaded = LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base);
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(ByteOf(Restored(*loaded), 9), 0xaa);
  ExpectSame(Restored(*loaded), changed);
}

TEST_F(FunctionLayer, TakenOverABaseOnDiskIsTheSame) {
  PublishWith({kernel_.get()});
  // The file of such a base has holes where the kernel's pages are.
  TakeOver(*LoadBase(&OpenOnDisk));
  base_ = LoadBase(&LoadedSnapshot::Load);
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(ByteOf(Restored(*loaded), 9), 0);
  ExpectSame(Restored(*loaded), restored_);
}

TEST_F(FunctionLayer, OnAnotherBaseIsIncompatible) {
  // The same machine with one more byte of state is another base.
  auto pending = catalog_.Begin(kKey);
  TakeSnapshot(pending->state_fd(), pending->memory_fd(), 0xab);
  ASSERT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  const auto base = LoadBase(&LoadedSnapshot::Load);
  const auto base_on_disk = LoadBase(&OpenOnDisk);
  for (const auto& loaded : {LoadedSnapshot::LoadFunction(FindFunction(), *base, {}),
                             LoadedSnapshot::OpenFunctionOnDisk(FindFunction(), *base_on_disk)}) {
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kIncompatible);
    EXPECT_NE(loaded.error().context.find("another base snapshot"), std::string::npos);
  }
}

TEST_F(FunctionLayer, FlippedByteOfItsMemoryIsRefused) {
  const UniqueFd file(::open((folder_.path().string() + "/" + kFunctionKey.FolderName() + "/memory").c_str(), O_RDWR));
  const uint8_t byte = 0xba;
  ASSERT_TRUE(WriteAt(file.get(), 3 * kPageSize + 7, {&byte, 1}, "memory"));
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
}

TEST_F(FunctionLayer, HasAWorkingSetOfItsOwn) {
  ASSERT_TRUE(catalog_.SaveWorkingSet(kFunctionKey, FindFunction().manifest.state_checksum, kSomeSet));
  const auto loaded = LoadedSnapshot::LoadFunction(FindFunction(), *base_, {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_TRUE(loaded->has_working_set());
  EXPECT_FALSE(base_->has_working_set());
  GuestMemory memory = MakeMemory(1_MiB);
  const RestorePlan plan = PlanOf(*loaded);
  EXPECT_EQ(plan.written, kSomeSet.written);
  ASSERT_TRUE(MapMemory(loaded->images(), plan, memory));
  PrefetchMemory(plan, memory);
  ExpectSame(memory, restored_);
}

class InMemory : public Store {};

TEST_F(InMemory, ImageIsWholeSealedAndOutlivesItsFile) {
  UniqueFd file = MakeSource({1, 2, 3});
  ASSERT_TRUE(SetSize(file.get(), 3 * kHugePageSize + 17, "image"));
  ASSERT_TRUE(WriteAt(file.get(), 3 * kHugePageSize + 16, std::vector<uint8_t>{9}, "image"));
  const auto image = InMemoryImage::Load(file.get(), "the image");
  ASSERT_TRUE(image) << image.error().Message();
  ASSERT_TRUE(SetSize(file.get(), 0, "image"));
  EXPECT_EQ(image->bytes(), 3 * kHugePageSize + 17);
  EXPECT_EQ(SizeOf(image->fd(), "image").value(), image->bytes());
  std::array<uint8_t, 2> bytes{};
  ASSERT_TRUE(ReadAt(image->fd(), 2 * kPageSize - 1, bytes, "image"));
  EXPECT_EQ(bytes, (std::array<uint8_t, 2>{2, 3}));
  ASSERT_TRUE(ReadAt(image->fd(), image->bytes() - 2, bytes, "image"));
  EXPECT_EQ(bytes, (std::array<uint8_t, 2>{0, 9}));
  EXPECT_EQ(::pwrite(image->fd(), bytes.data(), 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(image->fd(), 0), -1);
}

}  // namespace
}  // namespace snapfaas::snapshot
