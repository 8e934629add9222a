#include "devices/virtio/block.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>

#include "devices/virtio/test_utils.h"

namespace snapfaas::devices::virtio {
namespace {

using testing::Access;
using testing::Buffer;
using testing::FakeInterrupt;
using testing::MakeMemory;
using testing::TestDriver;

constexpr uint8_t kOk = 0;
constexpr uint8_t kIoError = 1;
constexpr uint8_t kUnsupported = 2;
constexpr uint32_t kIn = 0;
constexpr uint32_t kOut = 1;
constexpr uint32_t kFlush = 4;
constexpr uint32_t kGetId = 8;

// A file whose sector n begins with the letter 'a' + n % 26.
UniqueFd FileOf(size_t bytes) {
  UniqueFd file(::memfd_create("image", MFD_CLOEXEC));
  std::string content(bytes, '.');
  for (size_t at = 0; at < bytes; at += 512) content[at] = static_cast<char>('a' + at / 512 % 26);
  EXPECT_EQ(::pwrite(file.get(), content.data(), content.size(), 0), static_cast<ssize_t>(bytes));
  return file;
}

class BlockTest : public ::testing::Test {
 protected:
  void Open(BlockConfig config, const BlockState* state = nullptr) {
    block_ = VirtioBlock::Create(std::move(config), state).value();
    transport_ = MmioTransport::Create(*block_, memory_, interrupt_).value();
    driver_ = std::make_unique<TestDriver>(memory_, *transport_);
    driver_->Start();
  }

  uint64_t Header(uint32_t type, uint64_t sector) {
    const uint64_t address = driver_->Allocate(16);
    EXPECT_TRUE(memory_.WriteObject(GuestAddress(address), type));
    EXPECT_TRUE(memory_.WriteObject(GuestAddress(address + 8), sector));
    return address;
  }

  // One request with a data buffer of `length` bytes; returns the status.
  uint8_t Request(uint32_t type, uint64_t sector, uint32_t length, Access access = Access::kWritable) {
    data_ = driver_->Allocate(length + 1);
    driver_->Overwrite(data_, std::string(length, '?'));
    const uint64_t status = driver_->Put("\xee");
    std::vector<Buffer> buffers = {{Header(type, sector), 16, Access::kReadable}};
    if (length > 0) buffers.push_back({data_, length, access});
    buffers.push_back({status, 1, Access::kWritable});
    driver_->Add(0, buffers);
    driver_->Notify(0);
    used_ = driver_->TakeUsed(0);
    EXPECT_TRUE(used_.has_value());
    return static_cast<uint8_t>(driver_->Text(status, 1)[0]);
  }
  std::string Data(size_t length, size_t from = 0) { return driver_->Text(data_ + from, length); }

  GuestMemory memory_ = MakeMemory(64_MiB);
  FakeInterrupt interrupt_;
  std::unique_ptr<VirtioBlock> block_;
  std::unique_ptr<MmioTransport> transport_;
  std::unique_ptr<TestDriver> driver_;
  uint64_t data_ = 0;
  std::optional<testing::Used> used_;
};

TEST_F(BlockTest, DescribesItself) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = "runtimefs"});
  EXPECT_EQ(driver_->Read32(0x100), 10u);
  EXPECT_EQ(driver_->Read32(0x104), 0u);
  EXPECT_EQ(driver_->Read32(0x10c), 126u);
  driver_->Write32(0x14, 0);
  EXPECT_EQ(driver_->Read32(0x10), 0x24u) << "VIRTIO_BLK_F_RO and VIRTIO_BLK_F_SEG_MAX";
}

TEST_F(BlockTest, ReadsSectors) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(Request(kIn, 3, 1024), kOk);
  EXPECT_EQ(Data(2), "d.");
  EXPECT_EQ(Data(2, 512), "e.");
  EXPECT_EQ(used_->length, 1025u);
  EXPECT_EQ(interrupt_.count, 1);
}

TEST_F(BlockTest, OneInterruptServesManyRequests) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = ""});
  const uint64_t data = driver_->Allocate(512);
  for (uint64_t i = 0; i < 5; ++i) {
    driver_->Add(0, {{Header(kIn, i), 16, Access::kReadable}, {data, 513, Access::kWritable}});
  }
  driver_->Notify(0);
  EXPECT_EQ(interrupt_.count, 1);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(driver_->TakeUsed(0).has_value());
}

TEST_F(BlockTest, TheFramingOfARequestIsTheDriversAffair) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = ""});
  const uint64_t header = Header(kIn, 1);
  const uint64_t data = driver_->Allocate(600);
  driver_->Add(0, {{header, 7, Access::kReadable},
                   {header + 7, 9, Access::kReadable},
                   {data, 1, Access::kWritable},
                   {data + 1, 512, Access::kWritable}});
  driver_->Notify(0);
  ASSERT_TRUE(driver_->TakeUsed(0).has_value());
  EXPECT_EQ(driver_->Text(data, 3), "b..");
  EXPECT_EQ(driver_->Text(data + 512, 1)[0], kOk);
}

TEST_F(BlockTest, ReadsPastTheFileYieldZeroes) {
  Open({.file = FileOf(700), .capacity_bytes = 1_MiB, .id = ""});
  EXPECT_EQ(Request(kIn, 1, 1024), kOk);
  EXPECT_EQ(Data(1), "b");
  EXPECT_EQ(Data(1, 187), ".");
  EXPECT_EQ(Data(1024 - 188, 188), std::string(1024 - 188, '\0'));
  EXPECT_EQ(Request(kIn, 2047, 512), kOk);
  EXPECT_EQ(Data(512), std::string(512, '\0'));
}

TEST_F(BlockTest, AFileThatEndsInsideASectorKeepsItsTail) {
  Open({.file = FileOf(700), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(driver_->Read32(0x100), 2u);
  EXPECT_EQ(Request(kIn, 1, 512), kOk);
  EXPECT_EQ(Data(2, 187), std::string(".\0", 2));
}

TEST_F(BlockTest, WithoutAFileReadsZeroes) {
  Open({.file = UniqueFd(), .capacity_bytes = uint64_t{1} << 40, .id = ""});
  EXPECT_EQ(Request(kIn, (uint64_t{1} << 31) - 1, 512), kOk);
  EXPECT_EQ(Data(512), std::string(512, '\0'));
}

TEST_F(BlockTest, AnotherFileCanStandBehindIt) {
  Open({.file = UniqueFd(), .capacity_bytes = 1_MiB, .id = ""});
  block_->SetFile(FileOf(1024));
  EXPECT_EQ(Request(kIn, 1, 512), kOk);
  EXPECT_EQ(Data(1), "b");
}

TEST_F(BlockTest, ReadsBeyondTheCapacityFail) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(Request(kIn, 9, 1024), kIoError);
  EXPECT_EQ(Request(kIn, 10, 512), kIoError);
  EXPECT_EQ(Request(kIn, ~uint64_t{0}, 512), kIoError);
  EXPECT_EQ(Request(kIn, (~uint64_t{0}) / 512, 1024), kIoError);
  EXPECT_EQ(Data(1), "?");
  EXPECT_EQ(used_->length, 0u);
}

TEST_F(BlockTest, ReadsOfPartialSectorsFail) {
  Open({.file = FileOf(10 * 512), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(Request(kIn, 0, 100), kIoError);
}

TEST_F(BlockTest, VeryLargeReadsFail) {
  Open({.file = UniqueFd(), .capacity_bytes = 1_GiB, .id = ""});
  EXPECT_EQ(Request(kIn, 0, 16 << 20), kOk);
  EXPECT_EQ(Request(kIn, 0, (16 << 20) + 512), kIoError);
}

TEST_F(BlockTest, WritesFailAndChangeNothing) {
  UniqueFd file = FileOf(1024);
  const UniqueFd same(::dup(file.get()));
  Open({.file = std::move(file), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(Request(kOut, 0, 512, Access::kReadable), kIoError);
  char first = 0;
  EXPECT_EQ(::pread(same.get(), &first, 1, 0), 1);
  EXPECT_EQ(first, 'a');
}

TEST_F(BlockTest, UnknownTypesAreUnsupported) {
  Open({.file = FileOf(1024), .capacity_bytes = {}, .id = ""});
  EXPECT_EQ(Request(kFlush, 0, 0), kUnsupported);
  EXPECT_EQ(Request(0xffffffff, 0, 512), kUnsupported);
}

TEST_F(BlockTest, TellsItsId) {
  Open({.file = FileOf(1024), .capacity_bytes = {}, .id = "a-name-that-is-longer-than-20"});
  EXPECT_EQ(Request(kGetId, 0, 20), kOk);
  EXPECT_EQ(Data(20), "a-name-that-is-longe");
  EXPECT_EQ(Request(kGetId, 0, 4), kOk);
  EXPECT_EQ(Data(4), "a-na");
}

TEST_F(BlockTest, AShortHeaderFails) {
  Open({.file = FileOf(1024), .capacity_bytes = {}, .id = ""});
  const uint64_t status = driver_->Put("\xee");
  driver_->Add(0, {{Header(kIn, 0), 15, Access::kReadable}, {status, 1, Access::kWritable}});
  driver_->Notify(0);
  ASSERT_TRUE(driver_->TakeUsed(0).has_value());
  EXPECT_EQ(driver_->Text(status, 1)[0], kIoError);
}

TEST_F(BlockTest, ARequestWithoutRoomForItsStatusBreaksTheDevice) {
  Open({.file = FileOf(1024), .capacity_bytes = {}, .id = ""});
  driver_->Add(0, {{Header(kIn, 0), 16, Access::kReadable}});
  driver_->Notify(0);
  EXPECT_EQ(driver_->status() & 64, 64u);
  EXPECT_NE(transport_->broken_reason().find("status"), std::string::npos);
}

TEST_F(BlockTest, AnUnreadableFileIsAnIoError) {
  Open({.file = UniqueFd(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), .capacity_bytes = 1_MiB, .id = ""});
  EXPECT_EQ(Request(kIn, 0, 512), kIoError);
}

TEST_F(BlockTest, WhatIsNoRegularFileNeedsACapacity) {
  auto block = VirtioBlock::Create(
      {.file = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), .capacity_bytes = {}, .id = "vda"});
  ASSERT_FALSE(block);
  EXPECT_NE(block.error().context.find("vda"), std::string::npos);
}

TEST_F(BlockTest, ARestoredDeviceKeepsItsCapacity) {
  Open({.file = FileOf(20 * 512), .capacity_bytes = {}, .id = ""});
  const BlockState state = block_->Save();
  testing::ExpectCodecIsBounded(state);
  auto restored = VirtioBlock::Create({.file = FileOf(512), .capacity_bytes = {}, .id = ""}, &state);
  ASSERT_TRUE(restored);
  EXPECT_EQ((*restored)->Save(), state);
  EXPECT_EQ((*restored)->config()[0], 20);
}

TEST_F(BlockTest, AStateOfImpossibleCapacityIsRefused) {
  ByteWriter writer;
  BlockState{~uint64_t{0}}.Encode(writer);
  ByteReader reader(writer.bytes());
  BlockState::Decode(reader);
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace snapfaas::devices::virtio
