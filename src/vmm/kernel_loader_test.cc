#include "vmm/kernel_loader.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"
#include "base/units.h"

namespace snapfaas::vmm {
namespace {

UniqueFd FileOf(const std::vector<uint8_t>& bytes) {
  UniqueFd fd(::memfd_create("kernel", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

template <typename T>
void Put(std::vector<uint8_t>& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

// The least that the boot protocol asks of a bzImage: one setup sector, then `payload`.
std::vector<uint8_t> BzImage(const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> bytes(1024 + payload.size());
  bytes[0x1f1] = 1;
  bytes[0x201] = 0x66;
  Put(bytes, 0x202, uint32_t{0x53726448});
  Put(bytes, 0x206, uint16_t{0x020f});
  bytes[0x211] = 1;
  Put(bytes, 0x22c, uint32_t{0x7fffffff});
  Put(bytes, 0x236, uint16_t{1});
  Put(bytes, 0x260, uint32_t{1_MiB});
  for (size_t i = 0; i < payload.size(); ++i) bytes[1024 + i] = payload[i];
  return bytes;
}

std::vector<uint8_t> Elf(uint64_t load_address, uint64_t file_size) {
  std::vector<uint8_t> bytes(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr));
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = EM_X86_64;
  header.e_entry = load_address + 4;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_offset = bytes.size();
  segment.p_paddr = load_address;
  segment.p_filesz = file_size;
  segment.p_memsz = file_size;
  Put(bytes, 0, header);
  Put(bytes, sizeof(header), segment);
  bytes.resize(bytes.size() + 16, 0xab);
  return bytes;
}

class KernelLoaderTest : public ::testing::Test {
 protected:
  Result<LoadedKernel> Load(const std::vector<uint8_t>& bytes) { return LoadKernel(FileOf(bytes).get(), memory_); }
  void ExpectRefused(const std::vector<uint8_t>& bytes) {
    auto loaded = Load(bytes);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(loaded.error().context.empty());
  }

  GuestMemory memory_ = std::move(*GuestMemory::Create(8_MiB));
};

TEST_F(KernelLoaderTest, BzImageGoesToOneMebibyteAndIsEnteredAt64BitEntry) {
  auto loaded = Load(BzImage({1, 2, 3}));
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->entry, GuestAddress(0x100200));
  EXPECT_EQ(loaded->initramfs_limit, 0x80000000u);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(GuestAddress(0x100002)), 3);
  EXPECT_EQ(loaded->setup_header[0], 1);
}

TEST_F(KernelLoaderTest, ElfGoesWhereItsSegmentsSay) {
  auto loaded = Load(Elf(0x200000, 16));
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->entry, GuestAddress(0x200004));
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(GuestAddress(0x20000f)), 0xab);
}

TEST_F(KernelLoaderTest, RefusesAnEmptyFile) { ExpectRefused({}); }
TEST_F(KernelLoaderTest, RefusesWhatIsNeither) { ExpectRefused(std::vector<uint8_t>(4096, 0x5a)); }

TEST_F(KernelLoaderTest, RefusesAKernelWithout64BitEntry) {
  auto bytes = BzImage({1});
  Put(bytes, 0x236, uint16_t{0});
  ExpectRefused(bytes);
}

TEST_F(KernelLoaderTest, RefusesAKernelThatCannotUnpackItself) {
  auto bytes = BzImage({1});
  Put(bytes, 0x260, uint32_t{8_MiB});
  ExpectRefused(bytes);
}

TEST_F(KernelLoaderTest, RefusesABzImageCutBeforeItsPayload) {
  auto bytes = BzImage({});
  ExpectRefused(bytes);
}

TEST_F(KernelLoaderTest, RefusesAnElfSegmentOutsideMemory) { ExpectRefused(Elf(8_MiB - 8, 16)); }
TEST_F(KernelLoaderTest, RefusesAnElfSegmentAtTheEndOfTheAddressSpace) { ExpectRefused(Elf(~uint64_t{0} - 4, 16)); }
TEST_F(KernelLoaderTest, RefusesAnElfSegmentBelowOneMebibyte) { ExpectRefused(Elf(0x7000, 16)); }
TEST_F(KernelLoaderTest, RefusesAnElfCutInASegment) { ExpectRefused(Elf(0x200000, 4096)); }

TEST_F(KernelLoaderTest, RefusesAnElfWhoseTableIsOutsideTheFile) {
  auto bytes = Elf(0x200000, 16);
  Put(bytes, offsetof(Elf64_Ehdr, e_phoff), uint64_t{1} << 40);
  ExpectRefused(bytes);
}

TEST_F(KernelLoaderTest, RefusesAnElfOfAnotherMachine) {
  auto bytes = Elf(0x200000, 16);
  Put(bytes, offsetof(Elf64_Ehdr, e_machine), uint16_t{EM_AARCH64});
  ExpectRefused(bytes);
}

TEST_F(KernelLoaderTest, InitramfsEndsBelowTheLimit) {
  auto loaded = LoadInitramfs(FileOf(std::vector<uint8_t>(5000, 0x11)).get(), 4_MiB, memory_);
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->base.value() % kPageSize, 0u);
  EXPECT_LE(loaded->base.value() + loaded->size, 4_MiB);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(loaded->base + 4999), 0x11);
}

TEST_F(KernelLoaderTest, RefusesAnInitramfsThatDoesNotFit) {
  EXPECT_FALSE(LoadInitramfs(FileOf(std::vector<uint8_t>(7_MiB + 1)).get(), 8_MiB, memory_));
  EXPECT_FALSE(LoadInitramfs(FileOf({}).get(), 8_MiB, memory_));
}

}  // namespace
}  // namespace snapfaas::vmm
