#include "gateway/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace snapfaas::gateway {
namespace {

using Kind = node::InvocationAnswer::Kind;

// OpenTelemetry's for durations, with finer ones below: restores take milliseconds.
const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                                          0.25,  0.5,    0.75,  1,    2.5,   5,    7.5,   10};
const prometheus::Histogram::BucketBoundaries kBytes = {16U << 20,  32U << 20,  64U << 20,   128U << 20,
                                                        256U << 20, 512U << 20, 1024U << 20, 2048U << 20};

// As the function's report says it.
bool IsTimeout(const node::InvocationAnswer& answer) {
  return !answer.function_error.empty() && answer.payload.find("\"Sandbox.Timedout\"") != std::string::npos;
}

// "Max Memory Used: 38 MB" of the REPORT line.
std::optional<uint64_t> MemoryUsedMib(std::string_view log) {
  constexpr std::string_view kLabel = "Max Memory Used: ";
  const size_t at = log.rfind(kLabel);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view number = log.substr(at + kLabel.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  return error == std::errc() && end != number.data() ? std::optional(value) : std::nullopt;
}

template <typename Metric>
using Family = prometheus::Family<Metric>;

Family<prometheus::Counter>& AddCounter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<prometheus::Histogram>& AddHistogram(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

prometheus::MetricFamily OneValue(const char* name, const char* help, prometheus::MetricType type, double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {name, help, type, {metric}};
}

void AddNode(const node::NodeInfo& info, std::vector<prometheus::MetricFamily>& families) {
  const auto gauge = [&families](const char* name, const char* help, double value) {
    families.push_back(OneValue(name, help, prometheus::MetricType::Gauge, value));
  };
  const auto counter = [&families](const char* name, const char* help, uint64_t value) {
    families.push_back(OneValue(name, help, prometheus::MetricType::Counter, static_cast<double>(value)));
  };
  constexpr double kMib = 1 << 20;
  gauge("snapfaas_up", "1 while the node takes requests, 0 while it drains.", info.state == "running" ? 1 : 0);
  gauge("snapfaas_uptime_seconds", "Since the node was started.", info.uptime_seconds);
  gauge("snapfaas_memory_budget_bytes", "What all microVMs together may have.",
        static_cast<double>(info.memory_budget_mib) * kMib);
  gauge("snapfaas_memory_reserved_bytes", "What microVMs have of it.",
        static_cast<double>(info.memory_reserved_mib) * kMib);
  gauge("snapfaas_vms_busy", "MicroVMs with a request.", static_cast<double>(info.vms_busy));
  gauge("snapfaas_vms_idle", "MicroVMs that wait for the next request.", static_cast<double>(info.vms_idle));
  gauge("snapfaas_vms_starting", "MicroVMs being restored.", static_cast<double>(info.vms_starting));
  gauge("snapfaas_requests_queued", "Requests that wait for a microVM.", static_cast<double>(info.requests_queued));
  gauge("snapfaas_requests_running", "Requests in microVMs.", static_cast<double>(info.requests_running));
  gauge("snapfaas_events_waiting", "Asynchronous events not yet done.", static_cast<double>(info.events_waiting));
  const auto& counts = info.counts;
  counter("snapfaas_invocations_total", "Requests answered by functions, errors included.", counts.invocations);
  counter("snapfaas_errors_total", "Of these, errors of functions.", counts.errors);
  counter("snapfaas_timeouts_total", "Requests whose time limit passed.", counts.timeouts);
  counter("snapfaas_throttles_total", "Requests refused for want of room or by a limit.", counts.throttles);
  counter("snapfaas_launches_total", "MicroVMs restored.", counts.launches);
  counter("snapfaas_launch_failures_total", "MicroVMs that could not be.", counts.launch_failures);
  counter("snapfaas_evictions_total", "Idle microVMs that made room.", counts.evictions);
  counter("snapfaas_expirations_total", "MicroVMs that were idle for too long.", counts.expirations);
  counter("snapfaas_idle_hits_total", "Requests that found an idle microVM.", counts.idle_hits);
  counter("snapfaas_shells_started_total", "VMMs prepared beforehand.", counts.shells_started);
  families.push_back(OneValue("snapfaas_shells_starting_seconds_total", "What preparing them took.",
                              prometheus::MetricType::Counter, static_cast<double>(counts.shells_starting_ms) / 1e3));
  counter("snapfaas_shells_missing_total", "Launches that found no VMM prepared.", counts.shells_missing);
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  Family<prometheus::Counter>& invocations =
      AddCounter(registry, "faas_invocations_total", "Invocations without an error.");
  Family<prometheus::Counter>& errors = AddCounter(registry, "faas_errors_total", "Invocations with an error.");
  Family<prometheus::Counter>& timeouts =
      AddCounter(registry, "faas_timeouts_total", "Invocations whose time limit passed.");
  Family<prometheus::Counter>& throttles =
      AddCounter(registry, "faas_throttles_total", "Invocations refused for want of room or by a limit.");
  Family<prometheus::Counter>& cold_starts =
      AddCounter(registry, "faas_coldstarts_total", "Invocations for which a microVM was restored.");
  Family<prometheus::Histogram>& init_durations = AddHistogram(
      registry, "faas_init_duration_seconds", "To restore a microVM and load the function, of cold starts.");
  Family<prometheus::Histogram>& invoke_durations =
      AddHistogram(registry, "faas_invoke_duration_seconds", "Of the function itself.");
  Family<prometheus::Histogram>& memory =
      AddHistogram(registry, "faas_mem_usage_bytes", "The most memory that the function has used.");
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}

Metrics::~Metrics() = default;

void Metrics::Count(const std::string& function, const node::InvocationAnswer& answer) {
  // The names of functions that are not there come from clients: they must not become time series.
  if (answer.kind != Kind::kAnswered && answer.kind != Kind::kThrottled) return;
  const prometheus::Labels labels = {{"faas_name", function}};
  if (answer.kind == Kind::kThrottled) {
    impl_->throttles.Add(labels).Increment();
    return;
  }
  const bool is_timeout = IsTimeout(answer);
  if (answer.function_error.empty()) {
    impl_->invocations.Add(labels).Increment();
  } else {
    impl_->errors.Add(labels).Increment();
  }
  if (is_timeout) impl_->timeouts.Add(labels).Increment();
  const auto& timings = answer.timings;
  if (timings.start == faas::StartKind::kRestored) {
    impl_->cold_starts.Add(labels).Increment();
    impl_->init_durations.Add(labels, kSeconds).Observe((timings.restore + timings.load) / 1000);
  }
  impl_->invoke_durations.Add(labels, kSeconds).Observe(timings.run / 1000);
  if (const auto used = MemoryUsedMib(answer.log_tail)) {
    impl_->memory.Add(labels, kBytes).Observe(static_cast<double>(*used) * (1 << 20));
  }
}

std::string Metrics::Text(node::NodeView& view) {
  auto families = impl_->registry.Collect();
  AddNode(view.Info(), families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace snapfaas::gateway
