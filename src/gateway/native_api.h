// NativeApi: what a node tells about itself beyond AWS's interface, described by openapi.json.
//
//   GET /v1/node, /v1/vms, /v1/snapshots, /v1/runtimes
//   GET /v1/functions/{name}/log?from=&max=
//   GET /v1/events            text/event-stream
//   GET /v1/openapi.json
//
// Errors: {"error":{"code":"not-found","message":"..."}}. The event stream sends "event: KIND" with a JSON object each;
// a client that reads too slowly loses some, and is told by "event: lost" with their number.
#pragma once

#include <cstddef>

#include "gateway/http_message.h"
#include "gateway/responder.h"
#include "node/node_view.h"

namespace snapfaas::gateway {

class NativeApi {
 public:
  // The view outlives it and its event streams. At most `event_buffer_bytes` wait for each client of a stream.
  explicit NativeApi(node::NodeView& view, size_t event_buffer_bytes = 256 * 1024)
      : view_(view), event_buffer_bytes_(event_buffer_bytes) {}

  static bool IsFor(const HttpRequest& head) { return head.path.starts_with("/v1/"); }

  // May wait for a moment.
  void Handle(const HttpRequest& request, Responder responder);

 private:
  HttpResponse Answer(const HttpRequest& request);
  void StreamEvents(Responder responder);

  node::NodeView& view_;
  const size_t event_buffer_bytes_;
};

}  // namespace snapfaas::gateway
