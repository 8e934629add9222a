#include "images/vmlinux.h"

#include <gtest/gtest.h>

namespace snapfaas::images {
namespace {

void PutU32(std::string& bytes, size_t at, size_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

std::string U32(size_t value) {
  std::string bytes(4, '\0');
  PutU32(bytes, 0, value);
  return bytes;
}

// A bzImage whose payload is `payload`.
std::string BzImage(const std::string& payload) {
  std::string image(1024, '\0');
  image[0x1f1] = 1;
  PutU32(image, 0x202, 0x53726448);
  PutU32(image, 0x248, 16);
  PutU32(image, 0x24c, payload.size());
  return image + std::string(16, 'c') + payload;
}

// An LZ4 block: "\x7f" "ELF" "ab", then "ab" by a match that overlaps itself, then literals.
const std::string kBlock = std::string("\x64\x7f", 2) + "ELFab" + std::string("\x02\x00\xd0", 3) + "the last part";
const std::string kUnpacked =
    "\x7f"
    "ELFabababababthe last part";

// In LZ4's legacy frame, as Linux's build makes it, and the unpacked size.
std::string Payload(const std::string& block, size_t size) {
  return U32(0x184C2102) + U32(block.size()) + block + U32(size);
}

ErrorCode CodeOf(const std::string& bzimage) {
  const auto extracted = ExtractVmlinux(bzimage);
  EXPECT_FALSE(extracted);
  return extracted ? ErrorCode::kSystem : extracted.error().code;
}

TEST(ExtractVmlinuxTest, UnpacksTheKernel) {
  const auto vmlinux = ExtractVmlinux(BzImage(Payload(kBlock, kUnpacked.size())));
  ASSERT_TRUE(vmlinux) << vmlinux.error().Message();
  EXPECT_EQ(*vmlinux, kUnpacked);
}

TEST(ExtractVmlinuxTest, EveryTruncationIsAnError) {
  const std::string whole = BzImage(Payload(kBlock, kUnpacked.size()));
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(ExtractVmlinux(whole.substr(0, size))) << size;
}

TEST(ExtractVmlinuxTest, ImageWithoutHeaderIsCorrupt) {
  auto image = BzImage(Payload(kBlock, kUnpacked.size()));
  image[0x202] = 'X';
  EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, PayloadBeyondTheEndIsCorrupt) {
  auto image = BzImage(Payload(kBlock, kUnpacked.size()));
  PutU32(image, 0x248, 0xffffffff);
  EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, DamagedStreamIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload(std::string("\xf0\xff\xff", 3), kUnpacked.size()))), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, SizeAboveWhatItUnpacksToIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload(kBlock, kUnpacked.size() + 1))), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, SizeBeyondReasonIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload(kBlock, 0xffffffff))), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, WhatIsNoElfFileIsCorrupt) {
  std::string block = kBlock;
  block[1] = 'x';
  EXPECT_EQ(CodeOf(BzImage(Payload(block, kUnpacked.size()))), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace snapfaas::images
