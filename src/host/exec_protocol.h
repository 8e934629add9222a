// What `snapfaas host exec` and the exec server inside the emulated host say to each other, over one TCP connection
// per command.
//
//   client                                server
//     |  greeting: magic, token ->          |   48 bytes; anything else closes the connection, unanswered
//     |  Exec | Ping | PowerOff ->          |
//     |  <- Pong                            |   (after Ping) what the server is
//     |  <- Refused                         |   (after Exec) the command could not be started, and why
//     |  <- StdinCredit                     |   so many more bytes of standard input may be sent
//     |  Stdin..., StdinEnd ->              |
//     |  <- Stdout..., Stderr...            |
//     |  Signal ->                          |   for the command's process group
//     |  <- Exit                            |   the last message
//
// A frame is a kind (u8), a length (u32, little-endian) and so many bytes. Output needs no credit: a client that does
// not read stops the command through TCP. Input has credit so that the server can always read the connection and sees
// at once when its client is gone; the command's process group is then killed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace snapfaas::host {

inline constexpr std::string_view kGreetingMagic = "SNAPFAAS-HOST/1\n";
inline constexpr size_t kTokenBytes = 32;
inline constexpr size_t kGreetingBytes = 16 + kTokenBytes;
inline constexpr size_t kMaxExecPayload = size_t{4} << 20;  // arguments and environment together
inline constexpr size_t kStdinWindow = size_t{256} << 10;   // credit at the start of a command
inline constexpr uint16_t kExecServerPort = 1024;           // inside the emulated host
inline constexpr std::string_view kReadyLine = "snapfaas-hostd: ready";
inline constexpr std::string_view kFailedLine = "snapfaas-hostd: failed: ";

using Token = std::array<uint8_t, kTokenBytes>;

Result<Token> NewToken();

std::vector<uint8_t> EncodeGreeting(const Token& token);

// Whether `greeting` is the magic and the token; takes the same time wherever they differ.
bool GreetingIsValid(std::span<const uint8_t> greeting, const Token& token);

enum class FrameKind : uint8_t {
  kExec = 1,          // ExecRequest
  kStdin = 2,         // bytes
  kStdinEnd = 3,      //
  kSignal = 4,        // u32 signal number
  kPing = 5,          //
  kPowerOff = 6,      //
  kPong = 16,         //
  kRefused = 17,      // text
  kStdinCredit = 18,  // u32 bytes
  kStdout = 19,       // bytes
  kStderr = 20,       // bytes
  kExit = 21,         // u32 exit code, 128 + n after signal n
};

struct ExecFrame {
  FrameKind kind = FrameKind::kPing;
  std::vector<uint8_t> payload;
};

std::vector<uint8_t> EncodeFrame(FrameKind kind, std::span<const uint8_t> payload = {});
std::vector<uint8_t> EncodeFrame(FrameKind kind, std::string_view payload);
std::vector<uint8_t> EncodeFrame(FrameKind kind, uint32_t value);

// The payload of a frame that holds one number.
Result<uint32_t> DecodeNumber(const ExecFrame& frame);

// Takes the byte stream in pieces of any size, yields frames. An unknown kind or a length above kMaxExecPayload is an
// error, after which the stream is of no further use.
class FrameDecoder {
 public:
  void Append(std::span<const uint8_t> bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }

  // The next whole frame; nothing when more bytes are needed.
  Result<std::optional<ExecFrame>> Next();

 private:
  std::vector<uint8_t> buffer_;
  size_t taken_ = 0;  // bytes at the front of buffer_ that were handed out already
};

struct ExecRequest {
  std::vector<std::string> argv;         // argv[0] is looked up in PATH of `environment`
  std::string cwd;                       // absolute
  std::vector<std::string> environment;  // NAME=value
  std::vector<std::string> shares;       // absolute folders of the machine that must be visible, live and writable
  // Absolute files of the machine, below a share, that are read often: kept in the emulated host's memory while they
  // do not change. Missing ones are passed over.
  std::vector<std::string> resident;
};

std::vector<uint8_t> EncodeExecRequest(const ExecRequest& request);

// kCorrupt for bytes that are no request; kInvalidArgument for one without argv or with a relative path.
Result<ExecRequest> DecodeExecRequest(std::span<const uint8_t> bytes);

}  // namespace snapfaas::host
