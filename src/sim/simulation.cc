#include "sim/simulation.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/clock.h"
#include "faas/manual_timekeeper.h"

namespace snapfaas::sim {
namespace {

// Its own numbers, so that requests do not change with what microVMs take.
constexpr uint64_t kOverheadSeed = 0x9e3779b97f4a7c15;

Status CheckCosts(const Costs& costs, const std::vector<Function>& functions, LaunchKind launch) {
  for (const Function& function : functions) {
    if (costs.Of(function.measured_as).Of(launch)) continue;
    return Fail(ErrorCode::kInvalidArgument,
                "the costs do not say what a launch of {} takes that is \"{}\": take a run that has some, or add them "
                "(docs/simulator.md)",
                function.measured_as, NameOf(launch));
  }
  return {};
}

faas::Controller::Options ControllerOptionsOf(const Options& options) {
  faas::Controller::Options controller = options.controller;
  // A boot takes longer than any restore and works all the while. Were it to count no more after what is long for a
  // restore, boots would pile up, and look worse beside restores than they are.
  if (options.host.launch == LaunchKind::kBoot) controller.longest_launch_ns = controller.launch_allowance_ns;
  return controller;
}

class Simulation {
 public:
  Simulation(const Costs& costs, const std::vector<Function>& functions, const std::vector<Request>& requests,
             const Options& options)
      : costs_(costs),
        functions_(functions),
        requests_(requests),
        cpus_(options.cpus),
        random_(options.host.seed ^ kOverheadSeed),
        start_ns_(timekeeper_.NowNanos()),
        processors_(timekeeper_, options.cpus, costs.head_start_ms * 1e6),
        host_(timekeeper_, processors_, costs, options.host),
        controller_(timekeeper_, host_, ControllerOptionsOf(options)),
        manager_(timekeeper_, controller_, options.requests),
        unspecific_(std::make_shared<faas::FunctionRequest>()) {
    for (const Function& function : functions_) host_.Prepare(function.spec, costs.Of(function.measured_as));
  }

  Outcome Run() {
    outcome_.answers.resize(requests_.size());
    ScheduleNext();
    while (answered_ < requests_.size() && timekeeper_.Step()) {
    }
    const auto passed_ns = static_cast<double>(timekeeper_.NowNanos() - start_ns_);
    outcome_.vms = controller_.counts();
    outcome_.requests = manager_.counts();
    outcome_.shells = host_.counts();
    outcome_.budget_mib = controller_.budget().total();
    outcome_.peak_reserved_mib = controller_.budget().peak_reserved();
    outcome_.seconds = passed_ns / static_cast<double>(kSecond);
    if (passed_ns > 0) outcome_.cpu_share = processors_.worked_ns() / passed_ns / cpus_;
    return std::move(outcome_);
  }

 private:
  // One timer at a time, however many requests there are.
  void ScheduleNext() {
    if (next_ == requests_.size()) return;
    timekeeper_.At(start_ns_ + requests_[next_].at_ns, [this] {
      Arrive(next_++);
      ScheduleNext();
    });
  }

  void Arrive(size_t i) {
    Effort half = costs_.overhead.Sample(random_);
    half.work_ns /= 2;
    half.wait_ns /= 2;
    Effort first = half;
    if (ToMillis(processors_.rested_ns()) >= kRestMs) first.work_ns += costs_.warm_up_ms * 1e6;
    processors_.Start(first, Ahead::kAll, [this, i, half] { Submit(i, half); });
  }

  void Submit(size_t i, const Effort& half) {
    const Request& request = requests_[i];
    faas::SharedRequest content = unspecific_;
    if (request.run_ms) {
      auto specific = std::make_shared<faas::FunctionRequest>();
      specific->event = fmt::format("{}", *request.run_ms);
      content = std::move(specific);
    }
    manager_.Submit(functions_[request.function].spec, std::move(content),
                    [this, i, half](const faas::FunctionOutcome& outcome) {
                      Answer& answer = outcome_.answers[i];
                      answer.kind = outcome.kind;
                      answer.throttle = outcome.throttle;
                      answer.timings = outcome.timings;
                      processors_.Start(half, Ahead::kAll, [this, i] { Deliver(i); });
                    });
  }

  void Deliver(size_t i) {
    outcome_.answers[i].latency_ms = ToMillis(timekeeper_.NowNanos() - start_ns_ - requests_[i].at_ns);
    ++answered_;
  }

  const Costs& costs_;
  const std::vector<Function>& functions_;
  const std::vector<Request>& requests_;
  const double cpus_;
  Random random_;
  faas::ManualTimekeeper timekeeper_;
  const int64_t start_ns_;
  Processors processors_;
  MeasuredVmHost host_;
  faas::Controller controller_;
  faas::RequestManager manager_;
  const faas::SharedRequest unspecific_;
  size_t next_ = 0;
  size_t answered_ = 0;
  Outcome outcome_;
};

}  // namespace

Result<Outcome> Simulate(const Costs& costs, const std::vector<Function>& functions,
                         const std::vector<Request>& requests, const Options& options) {
  if (auto checked = CheckCosts(costs, functions, options.host.launch); !checked) return Forward(checked.error());
  return Simulation(costs, functions, requests, options).Run();
}

}  // namespace snapfaas::sim
