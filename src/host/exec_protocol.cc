#include "host/exec_protocol.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/coding.h"

namespace snapfaas::host {
namespace {

constexpr size_t kHeaderBytes = 5;
constexpr uint32_t kMaxArguments = 65536;

bool IsKnownKind(uint8_t kind) {
  return (kind >= static_cast<uint8_t>(FrameKind::kExec) && kind <= static_cast<uint8_t>(FrameKind::kPowerOff)) ||
         (kind >= static_cast<uint8_t>(FrameKind::kPong) && kind <= static_cast<uint8_t>(FrameKind::kExit));
}

void PutStrings(ByteWriter& writer, const std::vector<std::string>& strings) {
  writer.Put(static_cast<uint32_t>(strings.size()));
  for (const auto& text : strings) writer.PutString(text);
}

std::vector<std::string> GetStrings(ByteReader& reader) {
  std::vector<std::string> strings;
  const uint32_t count = reader.GetCount(kMaxArguments);
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    strings.push_back(reader.GetString(kMaxExecPayload));
    // It becomes a C string.
    if (strings.back().find('\0') != std::string::npos) reader.MarkBad();
  }
  return strings;
}

}  // namespace

Result<Token> NewToken() {
  Token token{};
  if (getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) {
    return FailErrno(errno, "drawing a random token");
  }
  return token;
}

std::vector<uint8_t> EncodeGreeting(const Token& token) {
  ByteWriter greeting;
  for (const char c : kGreetingMagic) greeting.Put(static_cast<uint8_t>(c));
  for (const uint8_t byte : token) greeting.Put(byte);
  return greeting.Take();
}

bool GreetingIsValid(std::span<const uint8_t> greeting, const Token& token) {
  const auto expected = EncodeGreeting(token);
  if (greeting.size() != expected.size()) return false;
  // Volatile keeps the compiler from leaving the loop early.
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference = static_cast<uint8_t>(difference | (greeting[i] ^ expected[i]));
  }
  return difference == 0;
}

std::vector<uint8_t> EncodeFrame(FrameKind kind, std::span<const uint8_t> payload) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(kind));
  writer.PutBlob(payload);
  return writer.Take();
}

std::vector<uint8_t> EncodeFrame(FrameKind kind, std::string_view payload) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(kind));
  writer.PutString(payload);
  return writer.Take();
}

std::vector<uint8_t> EncodeFrame(FrameKind kind, uint32_t value) {
  ByteWriter writer;
  writer.Put(static_cast<uint8_t>(kind));
  writer.Put(uint32_t{sizeof(value)});
  writer.Put(value);
  return writer.Take();
}

Result<uint32_t> DecodeNumber(const ExecFrame& frame) {
  ByteReader reader(frame.payload);
  const auto value = reader.Get<uint32_t>();
  if (auto status = reader.Finish("a number in the exec protocol"); !status) return Forward(status.error());
  return value;
}

Result<std::optional<ExecFrame>> FrameDecoder::Next() {
  const auto rest = std::span<const uint8_t>(buffer_).subspan(taken_);
  if (rest.size() < kHeaderBytes) return std::optional<ExecFrame>();
  ByteReader reader(rest);
  const auto kind = reader.Get<uint8_t>();
  const auto length = reader.Get<uint32_t>();
  if (!IsKnownKind(kind)) return Fail(ErrorCode::kCorrupt, "exec protocol: unknown frame kind {}", kind);
  if (length > kMaxExecPayload) {
    return Fail(ErrorCode::kCorrupt, "exec protocol: a frame of {} bytes, more than {}", length, kMaxExecPayload);
  }
  if (reader.remaining() < length) return std::optional<ExecFrame>();
  const auto payload = reader.GetBytes(length);
  ExecFrame frame{static_cast<FrameKind>(kind), {payload.begin(), payload.end()}};
  taken_ += kHeaderBytes + length;
  // Moving the rest to the front only now and then keeps many small frames linear.
  if (taken_ == buffer_.size() || taken_ > (size_t{64} << 10)) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }
  return std::optional<ExecFrame>(std::move(frame));
}

std::vector<uint8_t> EncodeExecRequest(const ExecRequest& request) {
  ByteWriter writer;
  PutStrings(writer, request.argv);
  writer.PutString(request.cwd);
  PutStrings(writer, request.environment);
  PutStrings(writer, request.shares);
  PutStrings(writer, request.resident);
  return writer.Take();
}

Result<ExecRequest> DecodeExecRequest(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  ExecRequest request;
  request.argv = GetStrings(reader);
  request.cwd = reader.GetString(kMaxExecPayload);
  request.environment = GetStrings(reader);
  request.shares = GetStrings(reader);
  request.resident = GetStrings(reader);
  if (auto status = reader.Finish("the exec request"); !status) return Forward(status.error());
  if (request.argv.empty()) return Fail(ErrorCode::kInvalidArgument, "the exec request names no command");
  const auto is_relative = [](const std::string& path) { return !path.starts_with('/'); };
  if (is_relative(request.cwd)) {
    return Fail(ErrorCode::kInvalidArgument, "the exec request's folder '{}' is not absolute", request.cwd);
  }
  for (const auto* paths : {&request.shares, &request.resident}) {
    if (std::any_of(paths->begin(), paths->end(), is_relative)) {
      return Fail(ErrorCode::kInvalidArgument, "the exec request shares a relative path");
    }
  }
  return request;
}

}  // namespace snapfaas::host
