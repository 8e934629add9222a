#include "host/exec_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace snapfaas::host {
namespace {

ExecRequest SomeRequest() {
  return {{"echo", "a b", ""}, "/work", {"PATH=/bin", "EMPTY="}, {"/data"}, {"/data/program"}};
}

TEST(Greeting, IsAcceptedWithItsToken) {
  const auto token = NewToken();
  ASSERT_TRUE(token);
  EXPECT_EQ(EncodeGreeting(*token).size(), kGreetingBytes);
  EXPECT_TRUE(GreetingIsValid(EncodeGreeting(*token), *token));
}

TEST(Greeting, TokensDiffer) { EXPECT_NE(*NewToken(), *NewToken()); }

TEST(Greeting, OneWrongBitAnywhereIsRefused) {
  const Token token = *NewToken();
  for (size_t i = 0; i < kGreetingBytes; ++i) {
    auto greeting = EncodeGreeting(token);
    greeting[i] ^= 1;
    EXPECT_FALSE(GreetingIsValid(greeting, token)) << i;
  }
}

TEST(Greeting, ShortOneIsRefused) {
  const Token token = *NewToken();
  auto greeting = EncodeGreeting(token);
  greeting.pop_back();
  EXPECT_FALSE(GreetingIsValid(greeting, token));
}

TEST(FrameDecoder, YieldsFramesFromSingleBytes) {
  auto bytes = EncodeFrame(FrameKind::kStdout, "hello");
  const auto second = EncodeFrame(FrameKind::kExit, uint32_t{7});
  bytes.insert(bytes.end(), second.begin(), second.end());
  FrameDecoder decoder;
  std::vector<ExecFrame> frames;
  for (const uint8_t byte : bytes) {
    decoder.Append({&byte, 1});
    auto next = decoder.Next();
    ASSERT_TRUE(next);
    if (next->has_value()) frames.push_back(**next);
  }
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].kind, FrameKind::kStdout);
  EXPECT_EQ(std::string(frames[0].payload.begin(), frames[0].payload.end()), "hello");
  EXPECT_EQ(frames[1].kind, FrameKind::kExit);
  EXPECT_EQ(*DecodeNumber(frames[1]), 7u);
}

TEST(FrameDecoder, KeepsItsPlaceOverManyFrames) {
  FrameDecoder decoder;
  const std::string block(1000, 'x');
  for (int i = 0; i < 300; ++i) decoder.Append(EncodeFrame(FrameKind::kStdin, block));
  for (int i = 0; i < 300; ++i) {
    auto next = decoder.Next();
    ASSERT_TRUE(next && next->has_value()) << i;
    EXPECT_EQ((*next)->payload.size(), block.size());
  }
  EXPECT_FALSE(decoder.Next()->has_value());
}

TEST(FrameDecoder, UnknownKindIsAnError) {
  for (const int number : {0, 7, 15, 22, 255}) {
    const auto kind = static_cast<uint8_t>(number);
    FrameDecoder decoder;
    const std::array<uint8_t, 5> header{kind, 0, 0, 0, 0};
    decoder.Append(header);
    const auto next = decoder.Next();
    ASSERT_FALSE(next) << int{kind};
    EXPECT_EQ(next.error().code, ErrorCode::kCorrupt);
  }
}

TEST(FrameDecoder, LengthAboveTheLimitIsAnErrorBeforeItsBytesArrive) {
  FrameDecoder decoder;
  const std::array<uint8_t, 5> header{static_cast<uint8_t>(FrameKind::kStdin), 1, 0, 0x40, 0};  // 4 MiB + 1
  decoder.Append(header);
  const auto next = decoder.Next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kCorrupt);
}

TEST(DecodeNumber, WrongSizeIsAnError) {
  EXPECT_FALSE(DecodeNumber({FrameKind::kExit, {1, 2, 3}}));
  EXPECT_FALSE(DecodeNumber({FrameKind::kExit, {1, 2, 3, 4, 5}}));
}

TEST(ExecRequest, SurvivesTheWire) {
  const auto decoded = DecodeExecRequest(EncodeExecRequest(SomeRequest()));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  EXPECT_THAT(decoded->argv, testing::ElementsAre("echo", "a b", ""));
  EXPECT_EQ(decoded->cwd, "/work");
  EXPECT_THAT(decoded->environment, testing::ElementsAre("PATH=/bin", "EMPTY="));
  EXPECT_THAT(decoded->shares, testing::ElementsAre("/data"));
  EXPECT_THAT(decoded->resident, testing::ElementsAre("/data/program"));
}

TEST(ExecRequest, TruncatedAnywhereIsAnError) {
  const auto bytes = EncodeExecRequest(SomeRequest());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeExecRequest(std::span(bytes).first(size))) << size;
  }
}

TEST(ExecRequest, TrailingBytesAreAnError) {
  auto bytes = EncodeExecRequest(SomeRequest());
  bytes.push_back(0);
  EXPECT_FALSE(DecodeExecRequest(bytes));
}

TEST(ExecRequest, WithoutCommandIsAnError) {
  auto request = SomeRequest();
  request.argv.clear();
  EXPECT_EQ(DecodeExecRequest(EncodeExecRequest(request)).error().code, ErrorCode::kInvalidArgument);
}

TEST(ExecRequest, RelativeFolderIsAnError) {
  auto request = SomeRequest();
  request.cwd = "work";
  EXPECT_EQ(DecodeExecRequest(EncodeExecRequest(request)).error().code, ErrorCode::kInvalidArgument);
}

TEST(ExecRequest, RelativeShareIsAnError) {
  auto request = SomeRequest();
  request.shares = {"../data"};
  EXPECT_EQ(DecodeExecRequest(EncodeExecRequest(request)).error().code, ErrorCode::kInvalidArgument);
}

TEST(ExecRequest, RelativeResidentFileIsAnError) {
  auto request = SomeRequest();
  request.resident = {"program"};
  EXPECT_EQ(DecodeExecRequest(EncodeExecRequest(request)).error().code, ErrorCode::kInvalidArgument);
}

TEST(ExecRequest, NulInAnArgumentIsAnError) {
  auto request = SomeRequest();
  request.argv[1] = std::string("a\0b", 3);
  EXPECT_EQ(DecodeExecRequest(EncodeExecRequest(request)).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace snapfaas::host
