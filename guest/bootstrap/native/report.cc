#include "bootstrap/native/report.h"

#include <algorithm>
#include <array>

namespace snapfaas::guest::native {
namespace {

using nlohmann::json;

// An error report must fit a frame whatever a function puts into it.
constexpr size_t kMaxMessageBytes = size_t{256} << 10;
constexpr size_t kMaxTypeBytes = 1024;
constexpr size_t kMaxStackLines = 100;
constexpr size_t kMaxStackLineBytes = size_t{4} << 10;
constexpr size_t kMaxErrorBodyBytes = size_t{2} << 20;

constexpr char kUnknownError[] = "Function.Unknown";

// ASCII, with what is no UTF-8 replaced: a report is always JSON.
std::string Encode(const json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

json MakeReportObject(std::string_view type, std::string_view message, std::string_view request_id) {
  return {{"errorMessage", message.substr(0, kMaxMessageBytes)},
          {"errorType", type.substr(0, kMaxTypeBytes)},
          {"requestId", request_id},
          {"stackTrace", json::array()}};
}

// Under either of the names that Lambda's runtimes use.
json StackOf(const json& error) {
  json stack = json::array();
  for (const char* name : {"stackTrace", "trace"}) {
    const auto found = error.find(name);
    if (found == error.end() || !found->is_array()) continue;
    for (const json& line : *found) {
      if (stack.size() == kMaxStackLines) break;
      if (line.is_string()) stack.push_back(line.get_ref<const std::string&>().substr(0, kMaxStackLineBytes));
    }
    break;
  }
  return stack;
}

std::string_view TextOf(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view piece = bytes.substr(at, 3);
    uint32_t value = 0;
    for (size_t i = 0; i < 3; ++i) value = value << 8 | (i < piece.size() ? static_cast<unsigned char>(piece[i]) : 0U);
    for (size_t i = 0; i < 4; ++i) text += i <= piece.size() ? kAlphabet[value >> (18 - 6 * i) & 63U] : '=';
  }
  return text;
}

// Enough of a check to tell text from what is not; the encoder of JSON looks closer.
bool IsUtf8(std::string_view text) {
  size_t following = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (following > 0) {
      if ((byte & 0xc0U) != 0x80U) return false;
      --following;
    } else if (byte >= 0x80U) {
      if (byte < 0xc2U || byte > 0xf4U) return false;
      following = byte < 0xe0U ? 1 : byte < 0xf0U ? 2 : 3;
    }
  }
  return following == 0;
}

}  // namespace

json ParseJson(std::string_view text, int max_depth) {
  const json::parser_callback_t shallow = [max_depth](int depth, json::parse_event_t, json&) {
    return depth <= max_depth;
  };
  return json::parse(text.begin(), text.end(), shallow, /*allow_exceptions=*/false);
}

std::string MakeReport(std::string_view type, std::string_view message, std::string_view request_id) {
  return Encode(MakeReportObject(type, message, request_id));
}

std::string ReportOfBody(std::string_view body, std::string_view type_from_header, std::string_view request_id) {
  const json error = body.size() <= kMaxErrorBodyBytes ? ParseJson(body, 2) : json();
  if (!error.is_object()) {
    // AWS Lambda passes on what it gets.
    return MakeReport(type_from_header.empty() ? kUnknownError : type_from_header, body, request_id);
  }
  std::string_view type = TextOf(error, "errorType");
  if (type.empty()) type = type_from_header;
  json report = MakeReportObject(type.empty() ? kUnknownError : type, TextOf(error, "errorMessage"), request_id);
  report["stackTrace"] = StackOf(error);
  return Encode(report);
}

std::string DecodeBase64(std::string_view text) {
  static const auto values = [] {
    std::array<int8_t, 256> table{};
    table.fill(-1);
    for (int8_t i = 0; i < 64; ++i) table[static_cast<unsigned char>(kAlphabet[i])] = i;
    return table;
  }();
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t value = 0;
  int bits = 0;
  for (const char c : text) {
    const int8_t six = values[static_cast<unsigned char>(c)];
    if (six < 0) return {};
    value = value << 6 | static_cast<uint32_t>(six);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(value >> bits & 0xffU);
  }
  return bytes;
}

std::string CollectHttpResponse(std::string_view stream) {
  constexpr std::string_view kSeparator("\0\0\0\0\0\0\0\0", 8);
  const size_t end = stream.find(kSeparator);
  if (end == std::string_view::npos) return {};
  json response = ParseJson(stream.substr(0, end), 2);
  if (!response.is_object()) return {};
  const std::string_view body = stream.substr(end + kSeparator.size());
  const bool is_text = IsUtf8(body);
  response["isBase64Encoded"] = !is_text;
  response["body"] = is_text ? std::string(body) : EncodeBase64(body);
  return response.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace snapfaas::guest::native
