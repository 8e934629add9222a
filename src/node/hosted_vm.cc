#include "node/hosted_vm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"

namespace snapfaas::node {
namespace {

using faas::FunctionOutcome;
using faas::FunctionRequest;
using faas::RequestTimings;
using faas::StartKind;
using faas::VmHost;

constexpr int64_t kRecordPatience = 10'000'000'000;

// "2026-11-25T23:32:09.123Z"
std::string Now() {
  const int64_t millis = RealtimeNanos() / 1'000'000;
  const std::time_t seconds = millis / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", std::string_view(text.data(), size), millis % 1000);
}

// docs/guest_contract.md, "Request channel".
std::string ContextOf(const faas::FunctionSpec& spec, const FunctionRequest& request) {
  nlohmann::json context = {{"requestId", request.id},
                            {"functionName", spec.function},
                            {"functionVersion", spec.version},
                            {"invokedFunctionArn", request.arn},
                            {"memoryLimitInMB", std::to_string(spec.size.memory_mib)},
                            {"deadlineMs", (RealtimeNanos() + spec.timeout_ns) / 1'000'000}};
  if (!request.client_context.empty()) {
    auto client = nlohmann::json::parse(request.client_context, nullptr, /*allow_exceptions=*/false);
    if (!client.is_discarded()) context["clientContext"] = std::move(client);
  }
  return context.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// What the process has of its own: its guest's pages that are no longer the snapshot's, and its own few.
uint64_t PrivateMibOf(pid_t pid) {
  if (pid == 0) return 0;
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  uint64_t size = 0;
  uint64_t resident = 0;
  uint64_t shared = 0;
  if (!(file >> size >> resident >> shared) || resident < shared) return 0;
  return (resident - shared) * kPageSize / 1_MiB;
}

double MillisBetween(int64_t from, int64_t to) { return from == 0 || to <= from ? 0 : ToMillis(to - from); }

VmHost::Answer LaunchFailed(const Error& error) {
  VmHost::Answer answer;
  answer.outcome.kind = FunctionOutcome::Kind::kLaunchFailed;
  answer.outcome.message = error.Message();
  return answer;
}

constexpr std::string_view kWasEnded = "the microVM was ended";

}  // namespace

bool HostedVm::IsInterrupted() const {
  const std::lock_guard lock(mutex_);
  return is_interrupted_;
}

void HostedVm::Interrupt() {
  const std::lock_guard lock(mutex_);
  is_interrupted_ = true;
  // Both sides see the socket end: who waits for the VMM at once, and the VMM ends.
  if (control_.valid()) (void)::shutdown(control_.get(), SHUT_RDWR);
}

void HostedVm::End() {
  claim_.reset();
  vm_.reset();
  log_.reset();  // after the VMM, which has flushed what its guest had printed
  pid_ = 0;
  const std::lock_guard lock(mutex_);
  control_.Reset();
}

Result<UniqueFd> HostedVm::OpenLog() {
  auto log = parts_.logs.Of(spec_.function);
  if (!log) return Forward(log.error());
  auto opened = VmLog::Create(parts_.reader, std::move(*log));
  if (!opened) return Forward(opened.error());
  log_.emplace(std::move(*opened));
  return log_->TakeWriter();
}

Result<HostedVm::Started> HostedVm::Start(int64_t launched_ns, int64_t deadline_ns) {
  auto launchable = parts_.store.Open(spec_.key);
  if (!launchable) return Forward(launchable.error());
  auto writer = OpenLog();
  if (!writer) return Forward(writer.error());
  claim_ = std::move(launchable->working_set);
  is_function_snapshot_ = launchable->is_function_snapshot;
  const bool primed = parts_.shells == Shells::kPrimed;
  auto taken = parts_.pool.Take({spec_.size, primed ? launchable->images.base : ""}, deadline_ns);
  if (!taken) return Forward(taken.error());
  auto adopted = Adopt(std::move(taken->shell), launched_ns);
  if (!adopted) return Forward(adopted.error());
  return Started{
      std::move(launchable->images), {std::move(launchable->appfs), std::move(*writer)}, std::move(taken->pause)};
}

Status HostedVm::Adopt(faas::Shell shell, int64_t launched_ns) {
  UniqueFd control(::fcntl(shell.process().control(), F_DUPFD_CLOEXEC, 0));
  if (!control.valid()) return FailErrno(errno, "duplicating a control socket");
  pid_ = shell.pid();
  auto vm = faas::MicroVm::Create(std::move(shell), launched_ns);
  if (!vm) return Forward(vm.error());
  vm_.emplace(std::move(*vm));
  const std::lock_guard lock(mutex_);
  if (is_interrupted_) return Fail(ErrorCode::kUnavailable, "{}", kWasEnded);
  control_ = std::move(control);
  return {};
}

VmHost::Answer HostedVm::LaunchAndInvoke(int64_t launched_ns, const FunctionRequest& request,
                                         const std::function<void()>& loaded) {
  const int64_t deadline = launched_ns + parts_.launch_timeout_ns;
  auto started = Start(launched_ns, deadline);
  if (!started) {
    auto answer = LaunchFailed(started.error());
    if (IsInterrupted()) answer.outcome.kind = FunctionOutcome::Kind::kCrashed;
    return answer;
  }
  log_->Begin(request.id, spec_.version);
  const std::string context = ContextOf(spec_, request);
  std::optional pause(std::move(started->pause));
  const faas::OnceLoaded once_loaded{spec_.timeout_ns, [&pause, &loaded] {
                                       pause.reset();
                                       loaded();
                                     }};
  auto response = vm_->RestoreAndInvoke(std::move(started->images), std::move(started->files), {request.event, context},
                                        deadline, once_loaded);
  pause.reset();
  const int64_t now = MonotonicNanos();
  const faas::Timeline& line = vm_->timeline();
  RequestTimings timings = TimingsOfStart();
  timings.start = StartKind::kRestored;
  timings.run = MillisBetween(line.ready, response ? line.response_received : now);
  if (!response) BlameSnapshot(response.error());
  return Conclude(request, std::move(response), timings);
}

Status HostedVm::Launch(int64_t launched_ns) {
  const int64_t deadline = launched_ns + parts_.launch_timeout_ns;
  auto started = Start(launched_ns, deadline);
  if (!started) return Forward(started.error());
  auto restored = vm_->Restore(std::move(started->images), std::move(started->files), deadline);
  if (!restored) BlameSnapshot(restored.error());
  return restored;
}

void HostedVm::BlameSnapshot(const Error& error) {
  if (!is_function_snapshot_ || vm_->timeline().state_done != 0) return;
  // What the VMM finds wrong with a snapshot; its own end, or a slow host, says nothing about it.
  const auto wrong = {ErrorCode::kCorrupt, ErrorCode::kIncompatible, ErrorCode::kInvalidArgument};
  if (std::find(wrong.begin(), wrong.end(), error.code) != wrong.end()) {
    parts_.store.GiveUpFunctionSnapshot(spec_.key, error);
  }
}

VmHost::Answer HostedVm::Invoke(const FunctionRequest& request) {
  if (!vm_) {
    VmHost::Answer answer;
    answer.outcome.kind = FunctionOutcome::Kind::kCrashed;
    answer.outcome.message = kWasEnded;
    return answer;
  }
  if (!IsInterrupted() && !vm_->IsAlive()) {
    return LaunchFailed({ErrorCode::kUnavailable, 0, "the microVM ended while it waited"});
  }
  log_->Begin(request.id, spec_.version);
  const int64_t began = MonotonicNanos();
  const std::string context = ContextOf(spec_, request);
  auto response = vm_->Invoke({request.event, context}, began + spec_.timeout_ns);
  RequestTimings timings;
  if (std::exchange(was_reset_, false)) {
    timings = TimingsOfStart();
    timings.start = StartKind::kReset;
  }
  timings.from_function_snapshot = is_function_snapshot_;
  timings.run = MillisBetween(began, MonotonicNanos());
  return Conclude(request, std::move(response), timings);
}

Status HostedVm::Reset() {
  if (!vm_) return Fail(ErrorCode::kUnavailable, "{}", kWasEnded);
  // A log of its own again: what was printed before the reset and not yet read is none of the next request's.
  const std::optional<VmLog> before = std::move(log_);
  auto writer = OpenLog();
  if (!writer) return Forward(writer.error());
  claim_.reset();
  was_reset_ = true;
  return vm_->Reset(std::move(*writer), MonotonicNanos() + parts_.launch_timeout_ns);
}

std::optional<HostedVm::Recording> HostedVm::Record() {
  auto claim = std::move(claim_);
  auto set = vm_->RecordWorkingSet(MonotonicNanos() + kRecordPatience);
  if (!set) return std::nullopt;
  return Recording{std::move(claim), std::move(*set)};
}

RequestTimings HostedVm::TimingsOfStart() const {
  const faas::Timeline& line = vm_->timeline();
  RequestTimings timings;
  timings.from_function_snapshot = is_function_snapshot_;
  timings.restore = MillisBetween(line.launched, line.state_done);
  timings.load = MillisBetween(line.state_done, line.ready != 0 ? line.ready : MonotonicNanos());
  return timings;
}

FunctionOutcome HostedVm::OutcomeOf(Result<faas::Response> response) const {
  FunctionOutcome outcome;
  if (response) {
    const bool is_result = response->kind == faas::Response::Kind::kResult;
    outcome.kind = is_result ? FunctionOutcome::Kind::kResult : FunctionOutcome::Kind::kError;
    outcome.payload = std::move(response->payload);
    return outcome;
  }
  outcome.message = response.error().Message();
  if (IsInterrupted()) {
    outcome.kind = FunctionOutcome::Kind::kCrashed;
    outcome.message = kWasEnded;
  } else if (!vm_->init_error().empty()) {
    outcome.kind = FunctionOutcome::Kind::kInitError;
    outcome.payload = vm_->init_error();
  } else if (vm_->timeline().state_done == 0) {
    outcome.kind = FunctionOutcome::Kind::kLaunchFailed;
  } else if (response.error().code == ErrorCode::kTimedOut) {
    outcome.kind = FunctionOutcome::Kind::kTimedOut;
    const bool is_loaded = vm_->timeline().ready != 0;
    outcome.message = fmt::format("Task timed out after {:.2f} seconds{}",
                                  ToMillis(is_loaded ? spec_.timeout_ns : parts_.launch_timeout_ns) / 1e3,
                                  is_loaded ? "" : " of loading the function");
  } else {
    outcome.kind = FunctionOutcome::Kind::kCrashed;
  }
  return outcome;
}

std::string HostedVm::ComplaintAbout(const FunctionRequest& request, const FunctionOutcome& outcome) const {
  switch (outcome.kind) {
    case FunctionOutcome::Kind::kResult:
    case FunctionOutcome::Kind::kError:
      return {};
    case FunctionOutcome::Kind::kTimedOut:
      return fmt::format("{} {} {}\n", Now(), request.id, outcome.message);
    default:
      return fmt::format("RequestId: {} Error: {}", request.id, outcome.message);
  }
}

RequestReport HostedVm::ReportOf(const RequestTimings& timings) {
  RequestReport report;
  report.duration_ms = timings.run;
  report.start_ms = timings.restore + timings.load;
  if (timings.start != StartKind::kIdle) {
    report.start = is_function_snapshot_ ? RequestReport::Start::kRestored : RequestReport::Start::kInit;
  }
  report.memory_mib = spec_.size.memory_mib;
  // One that has died has nothing any more.
  most_used_mib_ = std::max(most_used_mib_, std::min<uint64_t>(PrivateMibOf(pid_), spec_.size.memory_mib));
  report.used_mib = most_used_mib_;
  return report;
}

VmHost::Answer HostedVm::Conclude(const FunctionRequest& request, Result<faas::Response> response,
                                  const RequestTimings& timings) {
  VmHost::Answer answer;
  has_answered_ = response.has_value();
  const bool goes_on = response && !response->is_last;
  RequestReport report = ReportOf(timings);
  answer.outcome = OutcomeOf(std::move(response));
  answer.outcome.timings = timings;
  answer.is_usable = goes_on && !IsInterrupted();
  report.complaint = ComplaintAbout(request, answer.outcome);
  // It runs no longer than anybody waits for it.
  if (!answer.is_usable) Interrupt();
  answer.outcome.log_tail = log_->End(report);
  return answer;
}

}  // namespace snapfaas::node
