// Metrics: what Prometheus reads at /metrics.
//
// faas_* are OpenTelemetry's metrics of functions as a service (semantic conventions, "FaaS metrics") in Prometheus'
// spelling, by function: every answer is counted, also of asynchronous events. snapfaas_* are the
// node's own, read from the NodeView at each scrape.
#pragma once

#include <memory>
#include <string>

#include "node/invoker.h"
#include "node/node_view.h"

namespace snapfaas::gateway {

class Metrics {
 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  // An invocation that has ended. From any thread.
  void Count(const std::string& function, const node::InvocationAnswer& answer);

  // The text format of Prometheus, version 0.0.4.
  std::string Text(node::NodeView& view);
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace snapfaas::gateway
