#include "images/vmlinux.h"

#include <gtest/gtest.h>

#include <vector>

namespace snapfaas::images {
namespace {

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

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

// "\x7f" "ELF", then "ab" five times by a match that overlaps itself, then "end".
const std::string kBlock = std::string("\x64\x7f", 2) + "ELFab" + std::string("\x02\x00\x30", 3) + "end";
const std::string kUnpacked =
    "\x7f"
    "ELFabababababend";

std::string Payload(const std::string& block, size_t size) {
  return U32(0x184C2102) + U32(block.size()) + block + U32(size);
}

Result<std::string> Extract(const std::string& bzimage) { return ExtractVmlinux(Bytes(bzimage)); }

ErrorCode CodeOf(const std::string& bzimage) {
  const auto extracted = Extract(bzimage);
  EXPECT_FALSE(extracted);
  return extracted ? ErrorCode::kSystem : extracted.error().code;
}

TEST(ExtractVmlinuxTest, UnpacksTheKernel) {
  const auto vmlinux = Extract(BzImage(Payload(kBlock, kUnpacked.size())));
  ASSERT_TRUE(vmlinux) << vmlinux.error().Message();
  EXPECT_EQ(*vmlinux, kUnpacked);
}

TEST(ExtractVmlinuxTest, EveryTruncationIsAnError) {
  const std::string whole = BzImage(Payload(kBlock, kUnpacked.size()));
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(Extract(whole.substr(0, size))) << size;
}

TEST(ExtractVmlinuxTest, ImageWithoutHeaderIsCorrupt) {
  std::string image = BzImage(Payload(kBlock, kUnpacked.size()));
  image[0x202] = 'x';
  EXPECT_EQ(CodeOf(image), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, OtherCompressionIsIncompatible) {
  EXPECT_EQ(CodeOf(BzImage("\x1f\x8b\x08 and so on, gzip")), ErrorCode::kIncompatible);
}

TEST(ExtractVmlinuxTest, WrongSizeIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload(kBlock, kUnpacked.size() + 1))), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, SizeBeyondReasonIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload(kBlock, 0xffff'ffff))), ErrorCode::kCorrupt);
}

TEST(ExtractVmlinuxTest, WhatIsNoElfFileIsCorrupt) {
  EXPECT_EQ(CodeOf(BzImage(Payload("\x30"
                                   "abc",
                                   3))),
            ErrorCode::kCorrupt);
}

ErrorCode DecodeError(const std::string& block, size_t limit = 100) {
  std::string output = "before";
  const auto decoded = DecodeLz4Block(Bytes(block), limit, output);
  EXPECT_FALSE(decoded);
  EXPECT_LE(output.size(), 6 + limit);
  return decoded ? ErrorCode::kSystem : decoded.error().code;
}

TEST(DecodeLz4BlockTest, MatchBeforeTheBlockIsCorrupt) {
  EXPECT_EQ(DecodeError(std::string("\x10"
                                    "a\x02\x00\x00",
                                    5)),
            ErrorCode::kCorrupt);
}

TEST(DecodeLz4BlockTest, MatchAtNoDistanceIsCorrupt) {
  EXPECT_EQ(DecodeError(std::string("\x10"
                                    "a\x00\x00\x00",
                                    5)),
            ErrorCode::kCorrupt);
}

TEST(DecodeLz4BlockTest, LiteralsBeyondTheInputAreCorrupt) {
  EXPECT_EQ(DecodeError("\x50"
                        "abc"),
            ErrorCode::kCorrupt);
}

TEST(DecodeLz4BlockTest, LiteralsBeyondTheLimitAreCorrupt) {
  EXPECT_EQ(DecodeError("\x30"
                        "abc",
                        2),
            ErrorCode::kCorrupt);
}

TEST(DecodeLz4BlockTest, MatchBeyondTheLimitIsCorrupt) {
  EXPECT_EQ(DecodeError(std::string("\x1f"
                                    "a\x01\x00\xff\xff\xff\x00",
                                    8)),
            ErrorCode::kCorrupt);
}

TEST(DecodeLz4BlockTest, LengthWithoutEndIsCorrupt) { EXPECT_EQ(DecodeError("\xf0\xff\xff"), ErrorCode::kCorrupt); }

TEST(DecodeLz4BlockTest, EmptyBlockIsCorrupt) { EXPECT_EQ(DecodeError(""), ErrorCode::kCorrupt); }

}  // namespace
}  // namespace snapfaas::images
