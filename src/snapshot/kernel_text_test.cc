#include "snapshot/kernel_text.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fault_injecting_file_system.h"
#include "base/scratch_folder_for_tests.h"
#include "base/units.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

constexpr uint64_t kHuge = kHugePageSize / kPageSize;
constexpr uint64_t kMemory = 8_MiB;
constexpr uint8_t kPatched = 0xcc;

// A kernel with three regions of code from 2 MiB on, of which the page at 4096 * i holds i's low byte, and a memory
// that has all but the first page of the first region, and a few pages of the second, patched.
class KernelTextTest : public testing::Test {
 protected:
  KernelTextTest() : files_(folder_.path().string()), memory_(MakeMemory(kMemory)), image_(MakeMemoryFile()) {
    WriteKernel(PF_R | PF_X);
    for (uint64_t page = kHuge; page < 4 * kHuge; ++page) FillPage(memory_, page, KernelByte(page - kHuge));
    for (uint64_t page = kHuge + 1; page < 2 * kHuge; ++page) FillPage(memory_, page, kPatched);
    for (uint64_t page = 2 * kHuge; page < 2 * kHuge + 100; ++page) FillPage(memory_, page, 0xdd);
  }

  static uint8_t KernelByte(uint64_t page) { return static_cast<uint8_t>(1 + page % 100); }

  void WriteKernel(uint32_t flags) {
    std::vector<uint8_t> bytes(kPageSize * (1 + 3 * kHuge) + 5);
    PutElfHeaders(bytes, flags, kHugePageSize, 3 * kHugePageSize);
    for (uint64_t page = 0; page < 3 * kHuge; ++page) {
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>((page + 1) * kPageSize), kPageSize, KernelByte(page));
    }
    const UniqueFd file = Open(kernel_, O_RDWR | O_CREAT | O_TRUNC);
    ASSERT_TRUE(WriteAt(file.get(), 0, bytes, "kernel"));
  }

  static UniqueFd Open(const std::string& path, int flags) { return UniqueFd(::open(path.c_str(), flags, 0600)); }
  UniqueFd OpenRunning() const { return Open(running_, O_RDWR); }

  MemoryMap Map() {
    const UniqueFd kernel = Open(kernel_, O_RDONLY);
    return WriteMemoryImage(image_.get(), memory_, {kernel.get()}).value();
  }

  Result<bool> Make() { return MakeRunningKernel(files_, kernel_, running_, image_.get(), Map()); }

  ScratchFolder folder_;
  FaultInjectingFileSystem files_;
  const std::string kernel_ = (folder_.path() / "vmlinux").string();
  const std::string running_ = (folder_.path() / "vmlinux.running").string();
  GuestMemory memory_;
  UniqueFd image_;
};

TEST_F(KernelTextTest, IsWhatTheMemoryHasOfRegionsThatArePatchedForTheMostPart) {
  const auto made = Make();
  ASSERT_TRUE(made) << made.error().Message();
  EXPECT_TRUE(*made);
  const UniqueFd running = OpenRunning();
  const auto text = KernelText::Load(running.get());
  ASSERT_TRUE(text) << text.error().Message();
  ASSERT_NE(*text, nullptr);
  const TextRange range = (*text)->range();
  EXPECT_EQ(range.first_page % kHuge, 0U);
  EXPECT_EQ(range.end_page - range.first_page, kHuge);
  std::vector<uint8_t> bytes(kHugePageSize);
  ASSERT_TRUE(ReadAt((*text)->fd(), 0, bytes, "text"));
  EXPECT_EQ(bytes, std::vector<uint8_t>(memory_.host_base() + kHugePageSize, memory_.host_base() + 2 * kHugePageSize));
}

TEST_F(KernelTextTest, BeginsAsTheKernelDoes) {
  ASSERT_TRUE(Make().value());
  std::vector<uint8_t> kernel(std::filesystem::file_size(kernel_));
  std::vector<uint8_t> running(kernel.size());
  ASSERT_TRUE(ReadAt(Open(kernel_, O_RDONLY).get(), 0, kernel, "kernel"));
  ASSERT_TRUE(ReadAt(OpenRunning().get(), 0, running, "kernel"));
  EXPECT_EQ(kernel, running);
}

TEST_F(KernelTextTest, SnapshotsTakenWithItReferToItsTextAsAWhole) {
  ASSERT_TRUE(Make().value());
  const UniqueFd running = OpenRunning();
  const uint32_t first = FindKernelText(running.get())->first_page;
  const UniqueFd image = MakeMemoryFile();
  const MemoryMap map = WriteMemoryImage(image.get(), memory_, {running.get()}).value();
  // Its first page is in the kernel as well.
  ASSERT_FALSE(map.runs.empty());
  EXPECT_EQ(map.runs[0].first_page, kHuge);
  uint64_t in_a_row = 0;
  for (const MemoryRun& run : map.runs) {
    if (run.first_page != kHuge + in_a_row || run.source_page != first + in_a_row) break;
    in_a_row += run.pages;
  }
  EXPECT_EQ(in_a_row, kHuge);
  EXPECT_EQ(map.StoredBytes(), 100 * kPageSize);
}

TEST_F(KernelTextTest, IsMadeOnce) {
  ASSERT_TRUE(Make().value());
  FillPage(memory_, kHuge + 7, 0xee);
  EXPECT_FALSE(Make().value());
  EXPECT_TRUE(KernelText::Load(OpenRunning().get()));
}

TEST_F(KernelTextTest, IsNotMadeOfDataOrOfAKernelThatHardlyPatches) {
  WriteKernel(PF_R | PF_W);
  EXPECT_FALSE(Make().value());
  WriteKernel(PF_R | PF_X);
  for (uint64_t page = kHuge; page < kHuge + 300; ++page) FillPage(memory_, page, KernelByte(page - kHuge));
  EXPECT_FALSE(Make().value());
  EXPECT_FALSE(std::filesystem::exists(running_));
}

TEST_F(KernelTextTest, AKernelWithoutOneHasNone) {
  const UniqueFd kernel = Open(kernel_, O_RDONLY);
  EXPECT_EQ(KernelText::Load(kernel.get()).value(), nullptr);
  EXPECT_EQ(KernelText::Load(MakeSource({1, 2}).get()).value(), nullptr);
}

TEST_F(KernelTextTest, AnAlteredTextOrLastPageIsCorrupt) {
  ASSERT_TRUE(Make().value());
  const UniqueFd running = OpenRunning();
  const uint64_t text = uint64_t{FindKernelText(running.get())->first_page} * kPageSize;
  const auto expect_corrupt = [&running](uint64_t at) {
    uint8_t byte = 0;
    ASSERT_TRUE(ReadAt(running.get(), at, {&byte, 1}, "kernel"));
    byte ^= 1;
    ASSERT_TRUE(WriteAt(running.get(), at, {&byte, 1}, "kernel"));
    const auto loaded = KernelText::Load(running.get());
    ASSERT_FALSE(loaded) << at;
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    byte ^= 1;
    ASSERT_TRUE(WriteAt(running.get(), at, {&byte, 1}, "kernel"));
  };
  expect_corrupt(text);
  expect_corrupt(text + kHugePageSize - 1);
  // Behind the magic number, without which it is no text.
  for (uint64_t at = 8; at < kPageSize; ++at) expect_corrupt(text + kHugePageSize + at);
  EXPECT_TRUE(KernelText::Load(running.get()));
}

TEST_F(KernelTextTest, ATruncatedOneIsMadeAgain) {
  ASSERT_TRUE(Make().value());
  ASSERT_EQ(::truncate(running_.c_str(), static_cast<off_t>(std::filesystem::file_size(running_) - kPageSize)), 0);
  EXPECT_EQ(KernelText::Load(OpenRunning().get()).value(), nullptr);
  EXPECT_TRUE(Make().value());
  EXPECT_NE(KernelText::Load(OpenRunning().get()).value(), nullptr);
}

TEST_F(KernelTextTest, IsThereAsAWholeOrNotAtAllAfterACrash) {
  for (const Losses losses : {Losses::kNothing, Losses::kUnsyncedBytes, Losses::kUnsyncedAnything}) {
    for (int operation = 0;; ++operation) {
      static_cast<void>(files_.RemoveFile(running_));
      ASSERT_TRUE(files_.SyncFolder(folder_.path().string()));
      files_.CrashAt(operation);
      static_cast<void>(Make());
      const bool crashed = files_.crashed();
      ASSERT_TRUE(files_.Restart(losses));
      if (std::filesystem::exists(running_)) {
        const auto loaded = KernelText::Load(OpenRunning().get());
        ASSERT_TRUE(loaded) << loaded.error().Message() << ", crashed at " << operation;
        EXPECT_NE(*loaded, nullptr) << operation;
      }
      // Whoever comes next ends it.
      ASSERT_TRUE(Make()) << operation;
      EXPECT_TRUE(std::filesystem::exists(running_));
      if (!crashed) break;
    }
  }
}

TEST_F(KernelTextTest, AFullDiskLeavesNothingBehind) {
  for (int operation = 0; operation < 3; ++operation) {
    files_.FailAt(operation, ENOSPC);
    const auto made = Make();
    if (made) continue;  // what failed was to remove what is not there
    EXPECT_EQ(made.error().code, ErrorCode::kResourceExhausted);
    EXPECT_FALSE(std::filesystem::exists(running_));
    EXPECT_FALSE(std::filesystem::exists(running_ + ".new"));
  }
}

}  // namespace
}  // namespace snapfaas::snapshot
