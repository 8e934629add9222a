#include "base/coding.h"

#include <gtest/gtest.h>

#include <limits>

namespace snapfaas {
namespace {

std::vector<uint8_t> OneOfEach() {
  ByteWriter writer;
  writer.Put(uint8_t{0x01});
  writer.Put(uint16_t{0x0203});
  writer.Put(uint32_t{0x04050607});
  writer.Put(uint64_t{0x08090a0b0c0d0e0f});
  writer.PutI64(-2);
  writer.PutString("abc");
  writer.PutBlob(std::vector<uint8_t>{9, 8});
  return writer.Take();
}

void ReadOneOfEach(ByteReader& reader) {
  reader.Get<uint8_t>();
  reader.Get<uint16_t>();
  reader.Get<uint32_t>();
  reader.Get<uint64_t>();
  reader.GetI64();
  reader.GetString(16);
  reader.GetBlob(16);
}

TEST(Coding, NumbersAreLittleEndian) {
  ByteWriter writer;
  writer.Put(uint32_t{0x01020304});
  writer.Put(uint16_t{0xa0b0});
  EXPECT_EQ(writer.bytes(), (std::vector<uint8_t>{4, 3, 2, 1, 0xb0, 0xa0}));
}

TEST(Coding, WhatIsPutIsGot) {
  const auto bytes = OneOfEach();
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Get<uint8_t>(), 0x01);
  EXPECT_EQ(reader.Get<uint16_t>(), 0x0203);
  EXPECT_EQ(reader.Get<uint32_t>(), 0x04050607U);
  EXPECT_EQ(reader.Get<uint64_t>(), 0x08090a0b0c0d0e0fU);
  EXPECT_EQ(reader.GetI64(), -2);
  EXPECT_EQ(reader.GetString(3), "abc");
  const auto blob = reader.GetBlob(2);
  EXPECT_EQ(std::vector<uint8_t>(blob.begin(), blob.end()), (std::vector<uint8_t>{9, 8}));
  EXPECT_TRUE(reader.Finish("it"));
}

TEST(Coding, EveryTruncationFails) {
  const auto bytes = OneOfEach();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader reader(std::span<const uint8_t>(bytes).first(size));
    ReadOneOfEach(reader);
    const Status done = reader.Finish("a message");
    ASSERT_FALSE(done) << size;
    EXPECT_EQ(done.error().code, ErrorCode::kCorrupt);
  }
}

TEST(Coding, BytesLeftOverFail) {
  auto bytes = OneOfEach();
  bytes.push_back(0);
  ByteReader reader(bytes);
  ReadOneOfEach(reader);
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 1U);
  EXPECT_FALSE(reader.Finish("a message"));
}

TEST(Coding, AfterAFailureEveryReadYieldsNothing) {
  const std::vector<uint8_t> bytes = {1, 2, 3};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Get<uint64_t>(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.Get<uint8_t>(), 0U);
  EXPECT_TRUE(reader.GetBytes(1).empty());
  EXPECT_TRUE(reader.GetString(8).empty());
  EXPECT_EQ(reader.GetCount(8), 0U);
}

TEST(Coding, StringAboveItsLimitFails) {
  ByteWriter writer;
  writer.PutString("abcd");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.GetString(3), "");
  EXPECT_FALSE(reader.ok());
}

TEST(Coding, LengthBeyondTheInputFailsWithoutAllocating) {
  ByteWriter writer;
  writer.Put(std::numeric_limits<uint32_t>::max());
  ByteReader reader(writer.bytes());
  EXPECT_TRUE(reader.GetBlob(std::numeric_limits<size_t>::max()).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(Coding, CountAboveItsLimitFails) {
  ByteWriter writer;
  writer.Put(uint32_t{4});
  ByteReader within(writer.bytes());
  EXPECT_EQ(within.GetCount(4), 4U);
  ByteReader above(writer.bytes());
  EXPECT_EQ(above.GetCount(3), 0U);
  EXPECT_FALSE(above.ok());
}

TEST(Coding, StructsKeepTheirBytes) {
  struct Registers {
    uint64_t rip;
    uint32_t flags;
    uint32_t padding;
  };
  ByteWriter writer;
  writer.PutStruct(Registers{7, 8, 0});
  ByteReader reader(writer.bytes());
  const auto got = reader.GetStruct<Registers>();
  EXPECT_EQ(got.rip, 7U);
  EXPECT_EQ(got.flags, 8U);
  EXPECT_TRUE(reader.Finish("registers"));

  ByteReader cut(std::span<const uint8_t>(writer.bytes()).first(sizeof(Registers) - 1));
  EXPECT_EQ(cut.GetStruct<Registers>().rip, 0U);
  EXPECT_FALSE(cut.ok());
}

TEST(Coding, ADecoderCanRefuse) {
  const std::vector<uint8_t> bytes = {1};
  ByteReader reader(bytes);
  reader.Get<uint8_t>();
  reader.MarkBad();
  EXPECT_FALSE(reader.Finish("it"));
}

}  // namespace
}  // namespace snapfaas
