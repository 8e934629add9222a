// What replies of a node say, as samples and states.
#include "cli/load_sample.h"

#include <fmt/format.h>

#include <charconv>
#include <initializer_list>

#include "base/json.h"
#include "cli/node_client.h"

namespace snapfaas::cli {
namespace {

constexpr size_t kMaxProblemBytes = 160;

double MillisOf(const HttpReply& reply, const char* field) {
  const std::string text = reply.Header(field);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Start StartOf(const HttpReply& reply) {
  const std::string start = reply.Header("X-SnapFaaS-Start");
  if (start == "idle" || start == "reset") return Start::kWarm;
  if (start != "restored") return Start::kUnknown;
  return reply.Header("X-SnapFaaS-Snapshot") == "function" ? Start::kRestored : Start::kCold;
}

uint64_t CountOf(const Json& object, const char* key) {
  const double number = NumberOf(object, key);
  return number > 0 ? static_cast<uint64_t>(number) : 0;
}

std::string FirstOf(const Json& body, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (std::string text = TextOf(body, key); !text.empty()) return text;
  }
  return {};
}

}  // namespace

std::string_view NameOf(Start start) {
  switch (start) {
    case Start::kWarm:
      return "warm";
    case Start::kRestored:
      return "restored";
    case Start::kCold:
      return "cold";
    case Start::kUnknown:
      break;
  }
  return "unknown";
}

void Fill(LoadSample& sample, const HttpReply& reply) {
  sample.status = reply.status;
  sample.has_function_error = !reply.Header("X-Amz-Function-Error").empty();
  sample.start = StartOf(reply);
  sample.queued_ms = MillisOf(reply, "X-SnapFaaS-Queued-Ms");
  sample.restore_ms = MillisOf(reply, "X-SnapFaaS-Restore-Ms");
  sample.load_ms = MillisOf(reply, "X-SnapFaaS-Load-Ms");
  sample.run_ms = MillisOf(reply, "X-SnapFaaS-Run-Ms");
  sample.total_ms = MillisOf(reply, "X-SnapFaaS-Total-Ms");
}

std::string ProblemOf(const HttpReply& reply) {
  const bool by_function = reply.status == 200;
  if (by_function && reply.Header("X-Amz-Function-Error").empty()) return {};
  const Json body = Json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  std::string text = by_function ? TextOf(body, "errorType") : FirstOf(body, {"Reason", "message", "Message"});
  // Not in the middle of a character.
  if (text.size() > kMaxProblemBytes) {
    size_t end = kMaxProblemBytes;
    while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
    text.resize(end);
  }
  return (by_function ? "function error" : fmt::format("status {}", reply.status)) + (text.empty() ? "" : ": " + text);
}

Result<NodeState> ParseNodeState(std::string_view text) {
  const Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto counts = body.is_object() ? body.find("counts") : body.end();
  if (counts == body.end() || !counts->is_object()) {
    return Fail(ErrorCode::kIncompatible, "what answers there is no SnapFaaS node: /v1/node has no counts");
  }
  NodeState state;
  state.budget_mib = CountOf(body, "memory_budget_mib");
  state.reserved_mib = CountOf(body, "memory_reserved_mib");
  state.vms_busy = CountOf(body, "vms_busy");
  state.vms_idle = CountOf(body, "vms_idle");
  state.requests_queued = CountOf(body, "requests_queued");
  for (const auto& [name, value] : counts->items()) state.counts[name] = CountOf(*counts, name.c_str());
  return state;
}

}  // namespace snapfaas::cli
