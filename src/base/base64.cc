#include "base/base64.h"

#include <array>
#include <cstdint>

namespace snapfaas {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> MakeDigits() {
  std::array<uint8_t, 256> digits{};
  for (auto& digit : digits) digit = kNoDigit;
  for (size_t i = 0; i < kAlphabet.size(); ++i) digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  return digits;
}
constexpr std::array<uint8_t, 256> kDigits = MakeDigits();

}  // namespace

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const auto group = bytes.substr(at, 3);
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) bits = (bits << 8) | (i < group.size() ? static_cast<uint8_t>(group[i]) : 0U);
    for (size_t i = 0; i < 4; ++i) text.push_back(i <= group.size() ? kAlphabet[(bits >> (18 - 6 * i)) & 63] : '=');
  }
  return text;
}

Result<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return Fail(ErrorCode::kInvalidArgument, "base64 of {} characters: not a multiple of four", text.size());
  }
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const size_t digits = text.size() - padding;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t digit = i < digits ? kDigits[static_cast<uint8_t>(text[i])] : uint8_t{0};
    if (digit == kNoDigit) return Fail(ErrorCode::kInvalidArgument, "base64 has a bad character at offset {}", i);
    bits = (bits << 6) | digit;
    if (i % 4 != 3) continue;
    bytes.push_back(static_cast<char>(bits >> 16));
    bytes.push_back(static_cast<char>(bits >> 8));
    bytes.push_back(static_cast<char>(bits));
    if (i + 1 < text.size()) bits = 0;
  }
  const uint32_t beyond = (uint32_t{1} << (8 * padding)) - 1;
  if ((bits & beyond) != 0) return Fail(ErrorCode::kInvalidArgument, "base64 has bits beyond its last byte");
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace snapfaas
