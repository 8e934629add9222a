#include "gateway/native_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "gateway/openapi_document.h"
#include "http/url.h"

namespace snapfaas::gateway {
namespace {

constexpr uint64_t kMaxLogBytes = 1 << 20;

HttpResponse ToResponse(int status, const OrderedJson& json) {
  // What functions print need not be UTF-8.
  return {status,
          {{"Content-Type", "application/json"}},
          json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
}

HttpResponse Failure(int status, std::string_view code, const std::string& message) {
  return ToResponse(status, {{"error", {{"code", code}, {"message", message}}}});
}

HttpResponse Failure(const Error& error) {
  int status = 500;
  if (error.code == ErrorCode::kInvalidArgument) status = 400;
  if (error.code == ErrorCode::kNotFound) status = 404;
  if (error.code == ErrorCode::kUnavailable) status = 503;
  return Failure(status, ErrorCodeName(error.code), error.Message());
}

OrderedJson ToJson(const node::NodeInfo& info) {
  const auto& counts = info.counts;
  return {{"state", info.state},
          {"uptime_seconds", info.uptime_seconds},
          {"memory_budget_mib", info.memory_budget_mib},
          {"memory_reserved_mib", info.memory_reserved_mib},
          {"vms_busy", info.vms_busy},
          {"vms_idle", info.vms_idle},
          {"vms_starting", info.vms_starting},
          {"requests_queued", info.requests_queued},
          {"requests_running", info.requests_running},
          {"events_waiting", info.events_waiting},
          {"counts",
           {{"invocations", counts.invocations},
            {"errors", counts.errors},
            {"timeouts", counts.timeouts},
            {"throttles", counts.throttles},
            {"launches", counts.launches},
            {"launch_failures", counts.launch_failures},
            {"evictions", counts.evictions},
            {"expirations", counts.expirations},
            {"idle_hits", counts.idle_hits},
            {"shells_started", counts.shells_started},
            {"shells_starting_ms", counts.shells_starting_ms},
            {"shells_missing", counts.shells_missing}}}};
}

OrderedJson ToJson(const node::VmInfo& vm) {
  return {{"id", vm.id},
          {"pid", vm.pid},
          {"function", vm.function},
          {"version", vm.version},
          {"state", vm.state},
          {"memory_mib", vm.memory_mib},
          {"vcpus", vm.vcpus},
          {"age_seconds", vm.age_seconds},
          {"state_seconds", vm.state_seconds},
          {"requests", vm.requests}};
}

OrderedJson ToJson(const node::SnapshotInfo& snapshot) {
  return {{"folder", snapshot.folder},         {"kind", snapshot.function.empty() ? "base" : "function"},
          {"runtime", snapshot.runtime},       {"function", snapshot.function},
          {"memory_mib", snapshot.memory_mib}, {"vcpus", snapshot.vcpus},
          {"disk_bytes", snapshot.disk_bytes}, {"usable", snapshot.is_usable},
          {"problem", snapshot.problem},       {"last_use_unix_ms", snapshot.last_use_unix_ms}};
}

OrderedJson ToJson(const node::RuntimeInfo& runtime) {
  return {{"name", runtime.name},
          {"version", runtime.version},
          {"kernel", runtime.kernel},
          {"lambda_names", runtime.lambda_names}};
}

template <typename T>
HttpResponse List(const char* name, const std::vector<T>& items) {
  OrderedJson list = OrderedJson::array();
  for (const T& item : items) list.push_back(ToJson(item));
  OrderedJson json;
  json[name] = std::move(list);
  return ToResponse(200, json);
}

// A number in the query; empty where it is not there.
Result<std::optional<uint64_t>> ReadNumber(const http::QueryPairs& query, std::string_view name) {
  const auto text = http::FindQuery(query, name);
  if (!text) return std::optional<uint64_t>();
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return Fail(ErrorCode::kInvalidArgument, "'{}' must be a number of bytes, not '{}'", name, *text);
  }
  return std::optional(value);
}

HttpResponse ReadLog(node::NodeView& view, const std::string& function, const HttpRequest& request) {
  const auto query = http::ParseQuery(request.query);
  if (!query) return Failure(query.error());
  const auto from = ReadNumber(*query, "from");
  if (!from) return Failure(from.error());
  const auto max = ReadNumber(*query, "max");
  if (!max) return Failure(max.error());
  const auto piece = view.ReadLog(function, *from, std::min(max->value_or(kMaxLogBytes), kMaxLogBytes));
  if (!piece) return Failure(piece.error());
  return ToResponse(200, {{"text", piece->text}, {"next", piece->next}});
}

// One client's stream, fed by the node's threads.
class EventFeed {
 public:
  explicit EventFeed(HttpStream stream) : stream_(std::move(stream)) {}

  void Send(const node::NodeEvent& event) {
    const std::lock_guard lock(mutex_);
    std::string text;
    if (lost_ > 0) text = fmt::format("event: lost\ndata: {{\"count\":{}}}\n\n", lost_);
    text += fmt::format("event: {}\ndata: {{\"unix_ms\":{},\"kind\":\"{}\",\"what\":{}}}\n\n", event.kind,
                        event.unix_ms, event.kind, event.json);
    const StreamWrite written = stream_.Write(text);
    if (written == StreamWrite::kTaken) lost_ = 0;
    if (written == StreamWrite::kFull) ++lost_;
  }

 private:
  std::mutex mutex_;  // guards what follows
  HttpStream stream_;
  uint64_t lost_ = 0;  // since the client was told
};

}  // namespace

void NativeApi::Handle(const HttpRequest& request, Responder responder) {
  if (request.path == "/v1/events" && request.method == "GET") {
    StreamEvents(std::move(responder));
  } else {
    responder.Send(Answer(request));
  }
}

HttpResponse NativeApi::Answer(const HttpRequest& request) {
  const auto segments = http::SplitPath(request.path);
  if (!segments) return Failure(segments.error());
  const auto& parts = *segments;
  const std::string what = parts.size() == 2 ? parts[1] : "";
  const bool is_log = parts.size() == 4 && parts[1] == "functions" && parts[3] == "log";
  constexpr std::string_view kKnown[] = {"node", "vms", "snapshots", "runtimes", "events", "openapi.json"};
  if (!is_log && std::find(std::begin(kKnown), std::end(kKnown), what) == std::end(kKnown)) {
    return Failure(404, ErrorCodeName(ErrorCode::kNotFound),
                   fmt::format("{} is not a path of this node: see /v1/openapi.json", request.path));
  }
  if (request.method != "GET" && request.method != "HEAD") {
    HttpResponse response = Failure(405, "method-not-allowed", fmt::format("{} takes GET only", request.path));
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  if (is_log) return ReadLog(view_, parts[2], request);
  if (what == "node") return ToResponse(200, ToJson(view_.Info()));
  if (what == "vms") return List("vms", view_.Vms());
  if (what == "snapshots") {
    const auto snapshots = view_.Snapshots();
    return snapshots ? List("snapshots", *snapshots) : Failure(snapshots.error());
  }
  if (what == "runtimes") {
    const auto runtimes = view_.Runtimes();
    return runtimes ? List("runtimes", *runtimes) : Failure(runtimes.error());
  }
  if (what == "openapi.json") {
    return {200, {{"Content-Type", "application/json"}}, std::string(OpenApiDocument())};
  }
  return {200, {{"Content-Type", "text/event-stream"}}, ""};  // HEAD /v1/events
}

void NativeApi::StreamEvents(Responder responder) {
  HttpResponse head{200, {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}}, ""};
  // Shared by the subscription's sink, which may run while it is being destroyed.
  const auto feed = std::make_shared<EventFeed>(responder.StartStream(std::move(head), event_buffer_bytes_));
  auto subscription = view_.Subscribe([feed](const node::NodeEvent& event) { feed->Send(event); });
  // Lives until the client goes.
  responder.OnDisconnect([subscription = std::move(subscription)]() mutable { subscription.reset(); });
}

}  // namespace snapfaas::gateway
