#include "snapshot/memory_image.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/scratch_folder_for_tests.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kImageSize = 4_MiB;

uint64_t StoredBytesOf(int fd) {
  struct stat info {};
  EXPECT_EQ(::fstat(fd, &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

void Poke(int fd, uint64_t at, uint8_t value) {
  ASSERT_TRUE(WriteAt(fd, at, std::vector<uint8_t>{value}, "a poked file"));
}

// A VM's memory with pages 1, 2 and 5 in use, and its image.
class MemoryImage : public testing::Test {
 protected:
  MemoryImage() : memory_(MakeMemory(kImageSize)), file_(MakeMemoryFile()) {
    FillPage(memory_, 1, 0x11);
    FillPage(memory_, 2, 0x22);
    EXPECT_TRUE(memory_.WriteObject(GuestAddress(6 * kPageSize - 1), uint8_t{0x55}));
    auto map = WriteMemoryImage(file_.get(), memory_, {});
    EXPECT_TRUE(map) << map.error().Message();
    map_ = std::move(*map);
  }

  void ExpectCorrupt(const Status& status) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }

  GuestMemory memory_;
  UniqueFd file_;
  MemoryMap map_;
};

TEST_F(MemoryImage, NamesThePagesInUse) {
  ASSERT_EQ(map_.runs.size(), 2U);
  EXPECT_EQ(map_.runs[0].first_page, 1U);
  EXPECT_EQ(map_.runs[0].pages, 2U);
  EXPECT_EQ(map_.runs[1].first_page, 5U);
  EXPECT_EQ(map_.runs[1].pages, 1U);
  EXPECT_EQ(map_.StoredBytes(), 3 * kPageSize);
}

TEST_F(MemoryImage, IsAsLongAsTheMemoryAndAsLargeAsItsPages) {
  EXPECT_EQ(SizeOf(file_.get(), "image").value(), kImageSize);
  EXPECT_EQ(StoredBytesOf(file_.get()), 3 * kPageSize);
}

TEST_F(MemoryImage, PagesThatWereOnlyReadOrZeroedTakeNoSpace) {
  FillPage(memory_, 7, 0x77);
  FillPage(memory_, 7, 0);
  EXPECT_EQ(memory_.ReadObject<uint8_t>(GuestAddress(8 * kPageSize)).value(), 0);
  const UniqueFd file = MakeMemoryFile();
  EXPECT_EQ(WriteMemoryImage(file.get(), memory_, {}).value(), map_);
}

TEST_F(MemoryImage, WritingDoesNotPopulateUntouchedMemory) {
  // The host may bring in 2 MiB for one touched page: look further away.
  constexpr uint64_t kLarge = 8_MiB;
  GuestMemory memory = GuestMemory::Create(kLarge).value();
  FillPage(memory, 1, 0x11);
  const UniqueFd file = MakeMemoryFile();
  ASSERT_TRUE(WriteMemoryImage(file.get(), memory, {}));
  std::vector<unsigned char> resident(kLarge / kPageSize);
  ASSERT_EQ(::mincore(memory.host_base(), kLarge, resident.data()), 0);
  EXPECT_EQ(resident[6_MiB / kPageSize] & 1, 0) << "an untouched page was populated";
}

TEST_F(MemoryImage, LongStretchesAreCutIntoRuns) {
  for (uint64_t page = 0; page < 600; ++page) FillPage(memory_, page, 1);
  const UniqueFd file = MakeMemoryFile();
  const auto map = WriteMemoryImage(file.get(), memory_, {}).value();
  ASSERT_EQ(map.runs.size(), 3U);
  EXPECT_EQ(map.runs[0].pages, kMaxRunPages);
  EXPECT_EQ(map.runs[1].first_page, kMaxRunPages);
  EXPECT_EQ(map.runs[2].pages, 600 - 2 * kMaxRunPages);
  EXPECT_TRUE(VerifyMemoryImage(file.get(), map, kImageSize, {}));
}

TEST_F(MemoryImage, LastPageIsStored) {
  FillPage(memory_, kImageSize / kPageSize - 1, 9);
  const UniqueFd file = MakeMemoryFile();
  const auto map = WriteMemoryImage(file.get(), memory_, {}).value();
  EXPECT_EQ(map.runs.back().first_page, kImageSize / kPageSize - 1);
  EXPECT_TRUE(VerifyMemoryImage(file.get(), map, kImageSize, {}));
}

TEST_F(MemoryImage, UnusedMemoryIsAnEmptyMap) {
  const GuestMemory memory = MakeMemory(kImageSize);
  const UniqueFd file = MakeMemoryFile();
  const auto map = WriteMemoryImage(file.get(), memory, {}).value();
  EXPECT_TRUE(map.runs.empty());
  EXPECT_TRUE(VerifyMemoryImage(file.get(), map, kImageSize, {}));
}

TEST_F(MemoryImage, MappingBringsBackEveryByte) {
  GuestMemory mapped = MakeMemory(kImageSize);
  ASSERT_TRUE(mapped.MapPrivateImage(file_.get()));
  EXPECT_EQ(std::memcmp(mapped.host_base(), memory_.host_base(), kImageSize), 0);
}

TEST_F(MemoryImage, IntactFileIsVerified) { EXPECT_TRUE(VerifyMemoryImage(file_.get(), map_, kImageSize, {})); }

TEST_F(MemoryImage, FlippedByteIsCorrupt) {
  for (const uint64_t at : {kPageSize, 2 * kPageSize + 77, 3 * kPageSize - 1, 6 * kPageSize - 1}) {
    uint8_t byte = 0;
    ASSERT_TRUE(ReadAt(file_.get(), at, {&byte, 1}, "image"));
    Poke(file_.get(), at, byte ^ 1);
    ExpectCorrupt(VerifyMemoryImage(file_.get(), map_, kImageSize, {}));
    ExpectCorrupt(CopyVerified(file_.get(), MakeMemoryFile().get(), map_, kImageSize, {}));
    Poke(file_.get(), at, byte);
  }
}

TEST_F(MemoryImage, TruncatedOrLongerFileIsCorrupt) {
  for (const uint64_t size : {uint64_t{0}, kImageSize - 1, kImageSize + 1}) {
    const UniqueFd file = MakeMemoryFile();
    const auto map = WriteMemoryImage(file.get(), memory_, {}).value();
    ASSERT_TRUE(SetSize(file.get(), size, "image"));
    ExpectCorrupt(VerifyMemoryImage(file.get(), map, kImageSize, {}));
    ExpectCorrupt(CopyVerified(file.get(), MakeMemoryFile().get(), map, kImageSize, {}));
  }
}

TEST_F(MemoryImage, HoleFilledWithDataIsCorrupt) {
  for (const uint64_t at : {uint64_t{0}, 3 * kPageSize, 6 * kPageSize, kImageSize - 1}) {
    const UniqueFd file = MakeMemoryFile();
    const auto map = WriteMemoryImage(file.get(), memory_, {}).value();
    Poke(file.get(), at, 1);
    ExpectCorrupt(VerifyMemoryImage(file.get(), map, kImageSize, {}));
    ExpectCorrupt(CopyVerified(file.get(), MakeMemoryFile().get(), map, kImageSize, {}));
  }
}

TEST_F(MemoryImage, HoleFilledWithZeroesIsTheSameSnapshot) {
  Poke(file_.get(), 3 * kPageSize, 0);
  EXPECT_TRUE(VerifyMemoryImage(file_.get(), map_, kImageSize, {}));
}

TEST_F(MemoryImage, RunMissingFromTheMapIsCorrupt) {
  map_.runs.pop_back();
  ExpectCorrupt(VerifyMemoryImage(file_.get(), map_, kImageSize, {}));
}

TEST_F(MemoryImage, MapBeyondTheFileIsCorrupt) {
  map_.runs.push_back({static_cast<uint32_t>(kImageSize / kPageSize), 1, 0});
  ExpectCorrupt(VerifyMemoryImage(file_.get(), map_, kImageSize, {}));
}

TEST_F(MemoryImage, VerifiedCopyIsSparseAndTheSame) {
  const UniqueFd copy = MakeMemoryFile();
  ASSERT_TRUE(CopyVerified(file_.get(), copy.get(), map_, kImageSize, {}));
  EXPECT_TRUE(VerifyMemoryImage(copy.get(), map_, kImageSize, {}));
  EXPECT_EQ(StoredBytesOf(copy.get()), 3 * kPageSize);
}

TEST_F(MemoryImage, IsSparseOnDiskToo) {
  const ScratchFolder folder;
  const UniqueFd file(::open((folder.path().string() + "/memory").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const auto map = WriteMemoryImage(file.get(), memory_, {});
  ASSERT_TRUE(map);
  EXPECT_LT(StoredBytesOf(file.get()), kImageSize / 2);
  EXPECT_TRUE(VerifyMemoryImage(file.get(), *map, kImageSize, {}));
}

TEST_F(MemoryImage, LargestVmIsWrittenWithoutReadingAllOfIt) {
  GuestMemory memory = MakeMemory(3072_MiB);
  FillPage(memory, 0, 1);
  FillPage(memory, 3072_MiB / kPageSize - 1, 1);
  rusage before{};
  rusage after{};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &before), 0);
  const UniqueFd file = MakeMemoryFile();
  const auto map = WriteMemoryImage(file.get(), memory, {});
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &after), 0);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->StoredBytes(), 2 * kPageSize);
  // One fault for each of 786432 pages is what must not happen.
  EXPECT_LT(after.ru_minflt - before.ru_minflt, 5000);
}

TEST_F(MemoryImage, FileSizeLimitIsOneClearError) {
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{kPageSize, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const ScratchFolder folder;
  const UniqueFd file(::open((folder.path().string() + "/memory").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const auto map = WriteMemoryImage(file.get(), memory_, {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().os_errno, EFBIG);
  EXPECT_NE(map.error().context.find("does not fit; free disk space"), std::string::npos);
}

TEST_F(MemoryImage, FullDiskIsOneClearError) {
  const ScratchFolder folder;
  if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "mounting a small file system is not permitted here (run as root)";
  }
  for (uint64_t page = 0; page < 600; ++page) FillPage(memory_, page, 1);
  UniqueFd file(::open((folder.path().string() + "/memory").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const auto map = WriteMemoryImage(file.get(), memory_, {});
  file.Reset();
  EXPECT_EQ(::umount(folder.path().c_str()), 0);
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code, ErrorCode::kResourceExhausted);
  EXPECT_NE(map.error().Message().find("free disk space and try again: No space left"), std::string::npos);
}

// The same VM, booted from a kernel of pages 0xe0, 0x11, 0x22, 0x33, 0x44, 0x22 and half of one.
class CleanPages : public MemoryImage {
 protected:
  CleanPages() : kernel_(MakeSource({0xe0, 0x11, 0x22, 0x33, 0x44, 0x22})) {
    EXPECT_TRUE(WriteAt(kernel_.get(), 6 * kPageSize, std::vector<uint8_t>(kPageSize / 2, 0x66), "the kernel"));
  }

  MemorySources sources() const { return {kernel_.get()}; }

  MemoryMap Write(int fd) {
    auto map = WriteMemoryImage(fd, memory_, sources());
    EXPECT_TRUE(map) << map.error().Message();
    return map ? *map : MemoryMap();
  }

  void ExpectRefused(const MemoryMap& map, int fd, ErrorCode code, std::string_view why) {
    for (const Status& status : {VerifyMemoryImage(fd, map, kImageSize, sources()),
                                 CopyVerified(fd, MakeMemoryFile().get(), map, kImageSize, sources())}) {
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().code, code);
      EXPECT_NE(status.error().context.find(why), std::string::npos) << status.error().context;
    }
  }

  UniqueFd kernel_;
};

TEST_F(CleanPages, AreReferredToAndNotStored) {
  FillPage(memory_, 9, 0x44);
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  ASSERT_EQ(map.runs.size(), 3U);
  EXPECT_EQ(map.runs[0], (MemoryRun{1, 2, map_.runs[0].checksum, PageSource::kKernel, 1}));
  EXPECT_EQ(map.runs[1], map_.runs[1]);
  EXPECT_EQ(map.runs[2].source, PageSource::kKernel);
  EXPECT_EQ(map.runs[2].source_page, 4U);
  EXPECT_EQ(map.StoredBytes(), kPageSize);
  EXPECT_EQ(map.ResidentBytes(), 4 * kPageSize);
  EXPECT_EQ(StoredBytesOf(file.get()), kPageSize);
}

TEST_F(CleanPages, ComeBackInTheCompleteImage) {
  FillPage(memory_, 9, 0x44);
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  EXPECT_TRUE(VerifyMemoryImage(file.get(), map, kImageSize, sources()));
  const UniqueFd complete = MakeMemoryFile();
  ASSERT_TRUE(CopyVerified(file.get(), complete.get(), map, kImageSize, sources()));
  GuestMemory mapped = MakeMemory(kImageSize);
  ASSERT_TRUE(mapped.MapPrivateImage(complete.get()));
  EXPECT_EQ(std::memcmp(mapped.host_base(), memory_.host_base(), kImageSize), 0);
}

TEST_F(CleanPages, ThatDoNotFollowEachOtherInTheirSourceAreRunsOfTheirOwn) {
  FillPage(memory_, 20, 0x33);
  FillPage(memory_, 21, 0x11);
  FillPage(memory_, 22, 0x22);
  FillPage(memory_, 23, 0x44);
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  ASSERT_EQ(map.runs.size(), 5U);
  EXPECT_EQ(map.runs[2].source_page, 3U);
  EXPECT_EQ(map.runs[3].source_page, 1U);
  EXPECT_EQ(map.runs[3].pages, 2U);
  EXPECT_EQ(map.runs[4].source_page, 4U);
}

TEST_F(CleanPages, AreFoundInARowThoughAnEarlierPageIsTheSame) {
  kernel_ = MakeSource({0x22, 0x55, 0x44, 0x22, 0x66});
  FillPage(memory_, 20, 0x44);
  FillPage(memory_, 21, 0x22);
  FillPage(memory_, 22, 0x66);
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  EXPECT_EQ(map.runs.back().first_page, 20U);
  EXPECT_EQ(map.runs.back().source_page, 2U);
  EXPECT_EQ(map.runs.back().pages, 3U);
}

TEST_F(CleanPages, DirtyPageBesideThemIsStored) {
  ASSERT_TRUE(memory_.WriteObject(GuestAddress(2 * kPageSize + 5), uint8_t{1}));
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  ASSERT_EQ(map.runs.size(), 3U);
  EXPECT_FALSE(map.runs[0].IsStored());
  EXPECT_EQ(map.runs[0].pages, 1U);
  EXPECT_TRUE(map.runs[1].IsStored());
}

TEST_F(CleanPages, PartOfAPageAtTheEndOfASourceIsNotOne) {
  std::vector<uint8_t> page(kPageSize, 0x66);
  std::fill(page.begin() + kPageSize / 2, page.end(), uint8_t{0});
  ASSERT_TRUE(memory_.Write(GuestAddress(30 * kPageSize), page));
  const UniqueFd file = MakeMemoryFile();
  EXPECT_TRUE(Write(file.get()).runs.back().IsStored());
}

TEST_F(CleanPages, PageOfZeroesInASourceChangesNothing) {
  kernel_ = MakeSource({0});
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  EXPECT_EQ(map.ResidentBytes(), 3 * kPageSize);
}

TEST_F(CleanPages, ChangedSourceIsIncompatible) {
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  Poke(kernel_.get(), 2 * kPageSize + 9, 0x23);
  ExpectRefused(map, file.get(), ErrorCode::kIncompatible, "kernel image was changed since the snapshot was taken");
  ExpectRefused(map, file.get(), ErrorCode::kIncompatible, "snapfaas runtime build");
}

TEST_F(CleanPages, ShorterSourceIsIncompatible) {
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  ASSERT_TRUE(SetSize(kernel_.get(), 3 * kPageSize - 1, "kernel"));
  ExpectRefused(map, file.get(), ErrorCode::kIncompatible, "it is shorter");
}

TEST_F(CleanPages, CannotBeHadWithoutTheirSource) {
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  kernel_ = UniqueFd();
  ExpectRefused(map, file.get(), ErrorCode::kInvalidArgument, "without the runtime's kernel image");
}

TEST_F(CleanPages, DataInTheMemoryFileInTheirPlaceIsCorrupt) {
  const UniqueFd file = MakeMemoryFile();
  const MemoryMap map = Write(file.get());
  Poke(file.get(), 2 * kPageSize, 0x22);
  ExpectRefused(map, file.get(), ErrorCode::kCorrupt, "belong to no page");
}

TEST_F(CleanPages, SourceThatIsNoFileIsRefused) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd write_end(ends[1]);
  kernel_ = UniqueFd(ends[0]);
  const auto map = WriteMemoryImage(MakeMemoryFile().get(), memory_, sources());
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().context, "the runtime's kernel image is not a regular file");
}

// A VM restored from the image of the one above, which went on from there.
class LayerImage : public MemoryImage {
 protected:
  LayerImage() : base_(MakeMemory(kImageSize)), restored_(MakeMemory(kImageSize)), layer_(MakeMemoryFile()) {
    EXPECT_TRUE(base_.MapPrivateImage(file_.get()));
    EXPECT_TRUE(restored_.MapPrivateImage(file_.get()));
  }

  MemoryMap Write() {
    auto map = WriteLayerImage(layer_.get(), restored_, base_);
    EXPECT_TRUE(map) << map.error().Message();
    return map ? *map : MemoryMap();
  }

  GuestMemory base_;
  GuestMemory restored_;
  UniqueFd layer_;
};

TEST_F(LayerImage, OfAVmThatDidNothingIsEmpty) {
  // Reading is nothing, and neither is writing what is there.
  EXPECT_EQ(restored_.ReadObject<uint8_t>(GuestAddress(kPageSize)).value(), 0x11);
  FillPage(restored_, 2, 0x22);
  EXPECT_TRUE(Write().runs.empty());
}

TEST_F(LayerImage, HoldsWhatDiffersAndNothingElse) {
  FillPage(restored_, 1, 0x99);
  FillPage(restored_, 40, 0x77);
  const MemoryMap map = Write();
  ASSERT_EQ(map.runs.size(), 2U);
  EXPECT_EQ(map.runs[0].first_page, 1U);
  EXPECT_EQ(map.runs[1].first_page, 40U);
  EXPECT_EQ(map.StoredBytes(), 2 * kPageSize);
  EXPECT_EQ(StoredBytesOf(layer_.get()), 2 * kPageSize);
  EXPECT_TRUE(VerifyMemoryImage(layer_.get(), map, kImageSize, {}));
}

TEST_F(LayerImage, NamesPagesThatAreZeroNow) {
  FillPage(restored_, 2, 0);
  FillPage(restored_, 20, 0);  // as it was
  const MemoryMap map = Write();
  ASSERT_EQ(map.runs.size(), 1U);
  EXPECT_EQ(map.runs[0], (MemoryRun{2, 1, 0, PageSource::kZero, 0}));
  EXPECT_EQ(map.StoredBytes(), 0U);
  EXPECT_EQ(map.ResidentBytes(), 0U);
}

}  // namespace
}  // namespace snapfaas::snapshot
