#include "wire/frame.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "base/clock.h"
#include "wire/deadline_for_tests.h"
#include "wire/messages.h"

namespace snapfaas::wire {
namespace {

// What the parser says after taking the bytes at once.
Result<std::optional<Frame>> ParseOnce(std::string_view bytes, size_t max_payload = kMaxFrameBytes) {
  FrameParser parser(max_payload);
  parser.Append(bytes);
  return parser.Next();
}

void ExpectCorrupt(std::string_view bytes) {
  const auto frame = ParseOnce(bytes);
  ASSERT_FALSE(frame) << bytes;
  EXPECT_EQ(frame.error().code, ErrorCode::kCorrupt) << bytes;
}

TEST(Frame, IsAHeaderLineAndThePayload) { EXPECT_EQ(EncodeFrame("event", "{}"), "event 2\n{}"); }

TEST(Frame, WhatIsEncodedIsParsed) {
  const auto frame = ParseOnce(EncodeFrame("init-error", "line\nline"));
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->kind, "init-error");
  EXPECT_EQ((*frame)->payload, "line\nline");
}

TEST(Frame, EmptyPayloadIsAFrame) {
  const auto frame = ParseOnce("event 0\n");
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->payload, "");
}

TEST(Frame, FedByteByByteItAppearsWithTheLastByte) {
  const std::string bytes = EncodeFrame("event", "payload");
  FrameParser parser;
  for (size_t i = 0; i + 1 < bytes.size(); ++i) {
    parser.Append(bytes.substr(i, 1));
    const auto frame = parser.Next();
    ASSERT_TRUE(frame) << i;
    ASSERT_FALSE(frame->has_value()) << i;
  }
  parser.Append(bytes.substr(bytes.size() - 1));
  EXPECT_EQ(parser.Next().value()->payload, "payload");
}

TEST(Frame, SeveralInOnePieceComeOneByOne) {
  FrameParser parser;
  parser.Append("a 1\nxb 2\nyzc 4\nhal");
  EXPECT_EQ(parser.Next().value()->payload, "x");
  EXPECT_EQ(parser.Next().value()->payload, "yz");
  EXPECT_FALSE(parser.Next().value().has_value());
  parser.Append("f");
  EXPECT_EQ(parser.Next().value()->payload, "half");
}

TEST(Frame, PayloadEndsWhereItsLengthSays) {
  FrameParser parser;
  parser.Append("a 3\nabcb 0\n");
  EXPECT_EQ(parser.Next().value()->payload, "abc");
  EXPECT_EQ(parser.Next().value()->kind, "b");
}

TEST(Frame, HeaderWithoutSpaceIsCorrupt) { ExpectCorrupt("event\n"); }
TEST(Frame, HeaderWithoutKindIsCorrupt) { ExpectCorrupt(" 2\n{}"); }
TEST(Frame, EmptyHeaderIsCorrupt) { ExpectCorrupt("\n"); }
TEST(Frame, HeaderWithoutLengthIsCorrupt) { ExpectCorrupt("event \n{}"); }
TEST(Frame, UpperCaseKindIsCorrupt) { ExpectCorrupt("Event 2\n{}"); }
TEST(Frame, KindWithControlByteIsCorrupt) { ExpectCorrupt(std::string_view("ev\0nt 2\n{}", 10)); }
TEST(Frame, KindAboveItsLimitIsCorrupt) { ExpectCorrupt(std::string(32, 'a') + " 2\n{}"); }
TEST(Frame, NegativeLengthIsCorrupt) { ExpectCorrupt("event -1\n"); }
TEST(Frame, SignedLengthIsCorrupt) { ExpectCorrupt("event +2\n{}"); }
TEST(Frame, HexadecimalLengthIsCorrupt) { ExpectCorrupt("event 0x2\n{}"); }
TEST(Frame, LengthWithTextBehindIsCorrupt) { ExpectCorrupt("event 2 \n{}"); }
TEST(Frame, TwoSpacesAreCorrupt) { ExpectCorrupt("event  2\n{}"); }
TEST(Frame, CarriageReturnIsCorrupt) { ExpectCorrupt("event 2\r\n{}"); }
TEST(Frame, LengthThatOverflowsIsCorrupt) { ExpectCorrupt("event 18446744073709551616\n"); }
TEST(Frame, LongestLengthIsCorrupt) { ExpectCorrupt("event 18446744073709551615\n"); }
TEST(Frame, HeaderWithoutEndIsCorrupt) { ExpectCorrupt(std::string(100, 'a')); }

TEST(Frame, KindAtItsLimitIsFine) { EXPECT_TRUE(ParseOnce(std::string(31, 'a') + " 0\n").value().has_value()); }

TEST(Frame, PayloadAboveTheLimitIsRefusedBeforeItComes) {
  EXPECT_TRUE(ParseOnce("event 10\n0123456789", 10).value().has_value());
  const auto frame = ParseOnce("event 11\n", 10);
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kCorrupt);
  ExpectCorrupt(fmt::format("event {}\n", kMaxFrameBytes + 1));
}

TEST(FrameSocket, LargestFrameCrossesASocketInPieces) {
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_TRUE(pair);
  const std::string payload(kMaxFrameBytes, 'x');
  Status written;
  std::thread writer([&] { written = WriteFrame(pair->first.get(), "result", payload, Soon()); });
  FrameParser parser;
  const auto frame = ReadFrame(pair->second.get(), parser, Soon());
  writer.join();
  EXPECT_TRUE(written);
  ASSERT_TRUE(frame) << frame.error().Message();
  EXPECT_EQ(frame->kind, "result");
  EXPECT_TRUE(frame->payload == payload);
}

TEST(FrameSocket, SilenceEndsAtTheDeadline) {
  auto pair = SocketPair(SOCK_STREAM);
  FrameParser parser;
  const auto frame = ReadFrame(pair->second.get(), parser, MonotonicNanos() + kSecond / 100);
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kTimedOut);
}

TEST(FrameSocket, FullSocketEndsAtTheDeadline) {
  auto pair = SocketPair(SOCK_STREAM);
  const std::string payload(kMaxFrameBytes, 'x');
  const auto written = WriteFrame(pair->first.get(), "event", payload, MonotonicNanos() + kSecond / 100);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kTimedOut);
}

TEST(FrameSocket, ClosedReaderMakesWritingFail) {
  auto pair = SocketPair(SOCK_STREAM);
  pair->second.Reset();
  const auto written = WriteFrame(pair->first.get(), "event", "{}", Soon());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kUnavailable);
}

TEST(FrameSocket, EndInTheMiddleOfAFrameIsUnavailable) {
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_EQ(::send(pair->first.get(), "event 9\nhalf", 12, 0), 12);
  pair->first.Reset();
  FrameParser parser;
  const auto frame = ReadFrame(pair->second.get(), parser, Soon());
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kUnavailable);
}

TEST(FrameSocket, MalformedHeaderEndsReading) {
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_EQ(::send(pair->first.get(), "EVENT 1\n", 8, 0), 8);
  FrameParser parser;
  const auto frame = ReadFrame(pair->second.get(), parser, Soon());
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace snapfaas::wire
