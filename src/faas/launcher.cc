#include "faas/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "base/json.h"
#include "faas/console_log.h"
#include "faas/poll_until.h"
#include "snapshot/format.h"

namespace snapfaas::faas {

const char kKernelCommandLine[] =
    "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t i8042.nokbd i8042.noaux 8250.nr_uarts=1 pci=off "
    "random.trust_cpu=on initcall_blacklist=tracer_init_tracefs "
    // What would run in each restored VM, and bring in cold pages, without anybody to use it: a guest is one function,
    // alone in its VM, so nothing in it is to be protected from anything else in it. An asynchronous page fault lets a
    // vCPU do other work meanwhile, of which there is none.
    "mitigations=off lsm= audit=0 psi=0 nowatchdog tsc=reliable no-kvmapf no-steal-acc init_on_alloc=0";

namespace {

// Has the agent zero what was freed during the boot, so that it is not stored. The kernel's own init_on_free would
// touch all of RAM at boot, and go on costing restored VMs.
constexpr char kScrub[] = " snapfaas.scrub";

constexpr int64_t kLastWordsPatience = 2 * kSecond;

// What the guest had done last, for a person.
std::string_view LastMark(const Timeline& t) {
  if (t.ready != 0) return "126, ready for requests";
  if (t.mounted != 0) return "4, appfs mounted";
  if (t.identified != 0) return "5, identity taken";
  if (t.snapshot_point != 0) return "124, snapshot point";
  if (t.state_done != 0) return "restored";
  if (t.runtime_up != 0) return "3, language runtime up";
  if (t.agent_up != 0) return "2, agent up";
  if (t.kernel_up != 0) return "1, kernel up";
  return "none";
}

wire::VmIdentity NewIdentity() {
  std::array<uint8_t, 8> random{};
  // Cannot fail for so few bytes once the kernel's source is seeded, which it waits for.
  (void)!::getrandom(random.data(), random.size(), 0);
  const std::string id = fmt::format("vm-{:02x}", fmt::join(random, ""));
  return {id, id};
}

// The {"errorType", "errorMessage", ...} of an init-error frame as one line; the guest may send anything.
std::string DescribeFunctionError(const std::string& payload) {
  const auto json = nlohmann::json::parse(payload, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return "it did not say why";
  const auto text = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string("(none)");
  };
  return fmt::format("{}: {}", text("errorType"), text("errorMessage"));
}

}  // namespace

class MicroVm::Impl {
 public:
  Impl(Shell shell, int64_t launched_ns, ConsoleLog console, UniqueFd channel, UniqueFd channel_for_vmm)
      : console_(std::move(console)),
        channel_(std::move(channel)),
        channel_for_vmm_(std::move(channel_for_vmm)),
        shell_(std::move(shell)) {
    timeline_.launched = launched_ns;
    timeline_.shell_ready = shell_.ready_ns();
  }

  Status Boot(BootImages images, FunctionFiles function, int64_t deadline_ns);
  Status Restore(RestoreImages images, FunctionFiles function, int64_t deadline_ns);
  Result<Response> RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                    int64_t deadline_ns, const OnceLoaded* once_loaded);
  Status Reset(UniqueFd log, int64_t deadline_ns);
  Result<snapshot::WorkingSet> RecordWorkingSet(int64_t deadline_ns);
  Result<wire::SnapshotTakenEvent> RestoreToSnapshot(RestoreImages images, FunctionFiles function, UniqueFd state,
                                                     UniqueFd memory, int64_t deadline_ns);
  Result<wire::SnapshotTakenEvent> BootToSnapshot(BootImages images, UniqueFd state, UniqueFd memory,
                                                  int64_t deadline_ns);
  Result<Response> Invoke(const Request& request, int64_t deadline_ns);

  const std::string& init_error() const { return init_error_; }
  const Timeline& timeline() const { return timeline_; }
  pid_t pid() const { return shell_.pid(); }
  bool IsAlive() const { return shell_.IsAlive(); }

 private:
  Result<wire::DeviceFds> Devices(UniqueFd runtimefs, FunctionFiles function);
  Status SendCommand(wire::Command command);
  Result<wire::RestoreCommand> RestoreOf(RestoreImages images, FunctionFiles function);
  Status WaitUntilReady(int64_t deadline_ns);
  Result<wire::SnapshotTakenEvent> WaitForSnapshot(int64_t deadline_ns);
  // An error when the guest has said that the function cannot be loaded, or anything else.
  Status CheckNotRefused();
  tl::unexpected<Error> CannotBeLoaded(std::string payload);
  Result<Response> AwaitResponse(int64_t began_ns, int64_t deadline_ns, const OnceLoaded* once_loaded = nullptr);
  void NoteFirstResponse();
  Status SendRequest(const Request& request, int64_t deadline_ns);
  Result<std::optional<Response>> TakeResponse();

  // Takes in what the VMM and the guest say until there was something, or the deadline passed.
  Status Step(int64_t deadline_ns);
  Status TakeEvent();
  void TakeChannelBytes();

  Status Handle(const wire::ShellReadyEvent& event);
  Status Handle(const wire::MarkEvent& event);
  Status Handle(const wire::RestoredEvent& event);
  Status Handle(const wire::SnapshotTakenEvent& event);
  Status Handle(const wire::PrimedEvent& event);
  Status Handle(const wire::WorkingSetRecordedEvent& event);
  Status Handle(const wire::EndedEvent& event);
  Status Handle(const wire::FailedEvent& event);

  // Replaces an error of the control socket or a deadline by what happened to the microVM.
  tl::unexpected<Error> Explain(Error error, std::string_view waited_for, int64_t began_ns);
  std::string Progress() const;

  ConsoleLog console_;
  UniqueFd channel_;
  UniqueFd channel_for_vmm_;  // until the command takes it along
  bool channel_closed_ = false;
  bool said_last_word_ = false;  // Ended or Failed came, and is being passed on
  wire::FrameParser parser_;
  Timeline timeline_;
  std::optional<wire::SnapshotTakenEvent> snapshot_;
  std::string init_error_;
  bool working_set_recorded_ = false;
  bool resetting_ = false;  // until Restored comes
  Shell shell_;
};

Result<wire::DeviceFds> MicroVm::Impl::Devices(UniqueFd runtimefs, FunctionFiles function) {
  if (!channel_for_vmm_.valid()) return Fail(ErrorCode::kInvalidArgument, "a microVM is started only once");
  auto console = console_.Writer();
  if (!console) return Forward(console.error());
  wire::DeviceFds devices;
  devices.runtimefs = std::move(runtimefs);
  devices.appfs = std::move(function.appfs);
  devices.channel = std::move(channel_for_vmm_);
  devices.log = std::move(function.log);
  devices.console = std::move(*console);
  return devices;
}

Status MicroVm::Impl::SendCommand(wire::Command command) {
  timeline_.command_sent = MonotonicNanos();
  auto sent = wire::SendPacket(shell_.process().control(), wire::EncodeCommand(std::move(command)));
  if (!sent) return Explain(sent.error(), "the VMM took no command", timeline_.command_sent);
  return {};
}

Status MicroVm::Impl::Boot(BootImages images, FunctionFiles function, int64_t deadline_ns) {
  auto devices = Devices(std::move(images.runtimefs), std::move(function));
  if (!devices) return Forward(devices.error());
  wire::BootCommand command;
  command.cmdline = kKernelCommandLine;
  command.kernel = std::move(images.kernel);
  command.initramfs = std::move(images.initramfs);
  command.devices = std::move(*devices);
  command.identity = NewIdentity();
  auto sent = SendCommand(std::move(command));
  if (!sent) return sent;
  return WaitUntilReady(deadline_ns);
}

Result<wire::RestoreCommand> MicroVm::Impl::RestoreOf(RestoreImages images, FunctionFiles function) {
  auto devices = Devices(std::move(images.runtimefs), std::move(function));
  if (!devices) return Forward(devices.error());
  wire::RestoreCommand command;
  command.mode = images.mode;
  command.snapshot = std::move(images.snapshot);
  if (!shell_.primed_with().empty()) {
    if (shell_.primed_with() != images.base) {
      return Fail(ErrorCode::kInvalidArgument, "the VMM was primed with another snapshot");
    }
    // What it has already is left out.
    if (!command.snapshot.overlay.valid()) command.snapshot = wire::SnapshotFds();
    command.snapshot.memory.Reset();
    command.snapshot.kernel.Reset();
  }
  command.devices = std::move(*devices);
  command.identity = NewIdentity();
  return command;
}

Status MicroVm::Impl::Restore(RestoreImages images, FunctionFiles function, int64_t deadline_ns) {
  auto command = RestoreOf(std::move(images), std::move(function));
  if (!command) return Forward(command.error());
  auto sent = SendCommand(std::move(*command));
  if (!sent) return sent;
  return WaitUntilReady(deadline_ns);
}

Result<Response> MicroVm::Impl::RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                                 int64_t deadline_ns, const OnceLoaded* once_loaded) {
  // What a socket does not hold would wait for a guest that waits for its restore.
  constexpr size_t kFitsSocket = size_t{64} * 1024;
  if (request.event.size() + request.context.size() > kFitsSocket) {
    auto restored = Restore(std::move(images), std::move(function), deadline_ns);
    if (!restored) return Forward(restored.error());
    if (once_loaded == nullptr) return Invoke(request, deadline_ns);
    if (once_loaded->notify) once_loaded->notify();
    return Invoke(request, MonotonicNanos() + once_loaded->answer_timeout_ns);
  }
  auto command = RestoreOf(std::move(images), std::move(function));
  if (!command) return Forward(command.error());
  timeline_.request_sent = MonotonicNanos();
  auto sent = SendRequest(request, deadline_ns);
  if (sent) sent = SendCommand(std::move(*command));
  if (!sent) return Forward(sent.error());
  return AwaitResponse(timeline_.request_sent, deadline_ns, once_loaded);
}

Status MicroVm::Impl::Reset(UniqueFd log, int64_t deadline_ns) {
  auto channel = wire::SocketPair(SOCK_STREAM);
  if (!channel) return Forward(channel.error());
  channel_ = std::move(channel->first);
  channel_closed_ = false;
  parser_ = wire::FrameParser();
  timeline_ = Timeline();
  timeline_.launched = MonotonicNanos();
  wire::ResetCommand command;
  command.channel = std::move(channel->second);
  command.log = std::move(log);
  command.identity = NewIdentity();
  auto sent = SendCommand(std::move(command));
  if (!sent) return sent;
  // Marks that the guest rang before the reset are still to be read; they are not of this life.
  resetting_ = true;
  return WaitUntilReady(deadline_ns);
}

Result<snapshot::WorkingSet> MicroVm::Impl::RecordWorkingSet(int64_t deadline_ns) {
  UniqueFd file(::memfd_create("snapfaas-working-set", MFD_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "making a file for the working set");
  wire::RecordWorkingSetCommand command;
  command.file = UniqueFd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (!command.file.valid()) return FailErrno(errno, "duplicating the file for the working set");
  working_set_recorded_ = false;
  const int64_t began = MonotonicNanos();
  auto sent = wire::SendPacket(shell_.process().control(), wire::EncodeCommand(std::move(command)));
  if (!sent) return Explain(sent.error(), "the VMM took no command", began);
  while (!working_set_recorded_) {
    auto step = Step(deadline_ns);
    if (!step) return Explain(step.error(), "the working set was not recorded", began);
  }
  return snapshot::ReadRecordedWorkingSet(file.get(), snapshot::kMaxMemoryBytes);
}

Result<wire::SnapshotTakenEvent> MicroVm::Impl::RestoreToSnapshot(RestoreImages images, FunctionFiles function,
                                                                  UniqueFd state, UniqueFd memory,
                                                                  int64_t deadline_ns) {
  auto command = RestoreOf(std::move(images), std::move(function));
  if (!command) return Forward(command.error());
  command->function_state = std::move(state);
  command->function_memory = std::move(memory);
  auto sent = SendCommand(std::move(*command));
  if (!sent) return Forward(sent.error());
  return WaitForSnapshot(deadline_ns);
}

Result<wire::SnapshotTakenEvent> MicroVm::Impl::WaitForSnapshot(int64_t deadline_ns) {
  while (!snapshot_) {
    auto refused = CheckNotRefused();
    if (!refused) return Forward(refused.error());
    auto step = Step(deadline_ns);
    if (!step) return Explain(step.error(), "the guest did not reach the snapshot point (124)", timeline_.command_sent);
  }
  return *snapshot_;
}

Result<wire::SnapshotTakenEvent> MicroVm::Impl::BootToSnapshot(BootImages images, UniqueFd state, UniqueFd memory,
                                                               int64_t deadline_ns) {
  auto devices = Devices(std::move(images.runtimefs), FunctionFiles());
  if (!devices) return Forward(devices.error());
  wire::BootCommand command;
  command.cmdline = std::string(kKernelCommandLine) + kScrub;
  command.kernel = std::move(images.kernel);
  command.initramfs = std::move(images.initramfs);
  command.devices = std::move(*devices);
  command.identity = NewIdentity();
  command.snapshot_state = std::move(state);
  command.snapshot_memory = std::move(memory);
  auto sent = SendCommand(std::move(command));
  if (!sent) return Forward(sent.error());
  return WaitForSnapshot(deadline_ns);
}

Status MicroVm::Impl::WaitUntilReady(int64_t deadline_ns) {
  while (timeline_.ready == 0) {
    auto refused = CheckNotRefused();
    if (!refused) return refused;
    auto step = Step(deadline_ns);
    if (!step) return Explain(step.error(), "the guest did not become ready (126)", timeline_.command_sent);
  }
  return {};
}

Status MicroVm::Impl::CheckNotRefused() {
  auto frame = parser_.Next();
  if (!frame) return Fail(ErrorCode::kGuestError, "the guest broke the request channel: {}", frame.error().context);
  if (!frame->has_value()) return {};
  if ((*frame)->kind == "init-error") return CannotBeLoaded(std::move((*frame)->payload));
  return Fail(ErrorCode::kGuestError, "the guest sent a frame '{}' before it was ready", (*frame)->kind);
}

Status MicroVm::Impl::SendRequest(const Request& request, int64_t deadline_ns) {
  if (!request.context.empty()) {
    auto sent = wire::WriteFrame(channel_.get(), "context", request.context, deadline_ns);
    if (!sent) return sent;
  }
  return wire::WriteFrame(channel_.get(), "event", request.event, deadline_ns);
}

tl::unexpected<Error> MicroVm::Impl::CannotBeLoaded(std::string payload) {
  init_error_ = std::move(payload);
  return Fail(ErrorCode::kGuestError, "the function cannot be loaded: {}", DescribeFunctionError(init_error_));
}

Result<std::optional<Response>> MicroVm::Impl::TakeResponse() {
  auto frame = parser_.Next();
  if (!frame) return Fail(ErrorCode::kGuestError, "the guest broke the request channel: {}", frame.error().context);
  if (!frame->has_value()) return std::optional<Response>();
  auto& [kind, payload] = **frame;
  if (kind == "result") return std::optional(Response{Response::Kind::kResult, std::move(payload)});
  if (kind == "error" || kind == "last-error") {
    return std::optional(Response{Response::Kind::kError, std::move(payload), kind == "last-error"});
  }
  if (kind == "init-error") return CannotBeLoaded(std::move(payload));
  return Fail(ErrorCode::kGuestError, "the guest answered with an unknown frame '{}'", kind);
}

Result<Response> MicroVm::Impl::Invoke(const Request& request, int64_t deadline_ns) {
  if (request.event.size() > wire::kMaxFrameBytes || request.context.size() > wire::kMaxFrameBytes) {
    return Fail(ErrorCode::kInvalidArgument, "a request of {} bytes is above the limit of {}", request.event.size(),
                wire::kMaxFrameBytes);
  }
  const int64_t began = MonotonicNanos();
  if (timeline_.request_sent == 0) timeline_.request_sent = began;
  auto sent = SendRequest(request, deadline_ns);
  if (!sent) return Explain(sent.error(), "the function did not take the request", began);
  return AwaitResponse(began, deadline_ns);
}

Result<Response> MicroVm::Impl::AwaitResponse(int64_t began, int64_t deadline_ns, const OnceLoaded* once_loaded) {
  for (;;) {
    if (once_loaded != nullptr && timeline_.ready != 0) {
      deadline_ns = timeline_.ready + once_loaded->answer_timeout_ns;
      began = timeline_.ready;
      if (once_loaded->notify) once_loaded->notify();
      once_loaded = nullptr;
    }
    auto response = TakeResponse();
    if (!response) return Forward(response.error());
    if (response->has_value()) {
      if (timeline_.response_received == 0) NoteFirstResponse();
      return std::move(**response);
    }
    auto step = Step(deadline_ns);
    if (step) continue;
    // An answer sent just before the end still counts.
    auto last_words = TakeResponse();
    if (last_words && last_words->has_value()) return std::move(**last_words);
    return Explain(step.error(),
                   timeline_.ready == 0 ? "the guest did not become ready (126)" : "the function did not answer",
                   began);
  }
}

void MicroVm::Impl::NoteFirstResponse() {
  timeline_.response_received = MonotonicNanos();
  // A request that waited in the channel may be answered before the agent gets to ring 126, or before that is read.
  while (timeline_.ready == 0 && Step(MonotonicNanos() + 1)) {
  }
  if (timeline_.ready == 0) timeline_.ready = timeline_.response_received;
  timeline_.ready = std::min(timeline_.ready, timeline_.response_received);
}

Status MicroVm::Impl::Step(int64_t deadline_ns) {
  std::array<pollfd, 2> polled{pollfd{shell_.process().control(), POLLIN, 0},
                               pollfd{channel_closed_ ? -1 : channel_.get(), POLLIN, 0}};
  auto ready = PollUntil(polled, deadline_ns);
  if (!ready) return ready;
  if (polled[1].revents != 0) TakeChannelBytes();
  if (polled[0].revents != 0) return TakeEvent();
  return {};
}

void MicroVm::Impl::TakeChannelBytes() {
  std::array<char, 65536> chunk;
  const ssize_t got = ::recv(channel_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (got > 0) {
    parser_.Append({chunk.data(), static_cast<size_t>(got)});
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    // The control socket says what happened, or the deadline.
    channel_closed_ = true;
  }
}

Status MicroVm::Impl::TakeEvent() {
  auto packet = wire::ReceivePacket(shell_.process().control(), /*deadline_ns=*/-1);
  if (!packet) return Forward(packet.error());
  auto event = wire::DecodeEvent(*packet);
  if (!event) return Forward(event.error(), "the VMM is not of this version");
  return std::visit([this](const auto& e) { return Handle(e); }, *event);
}

Status MicroVm::Impl::Handle(const wire::ShellReadyEvent& /*event*/) {
  return Fail(ErrorCode::kCorrupt, "the VMM said twice that it is set up");
}

Status MicroVm::Impl::Handle(const wire::MarkEvent& event) {
  if (resetting_) return {};
  const auto stamp = [&event](int64_t& first) {
    if (first == 0) first = event.at_ns;
  };
  switch (event.value) {
    case wire::Doorbell::kKernelUp:
      stamp(timeline_.kernel_up);
      break;
    case wire::Doorbell::kAgentUp:
      stamp(timeline_.agent_up);
      break;
    case wire::Doorbell::kRuntimeUp:
      stamp(timeline_.runtime_up);
      break;
    case wire::Doorbell::kIdentity:
      stamp(timeline_.identified);
      break;
    case wire::Doorbell::kMounted:
      stamp(timeline_.mounted);
      break;
    case wire::Doorbell::kSnapshot:
      stamp(timeline_.snapshot_point);
      break;
    case wire::Doorbell::kReady:
      stamp(timeline_.ready);
      break;
  }
  return {};
}

Status MicroVm::Impl::Handle(const wire::RestoredEvent& event) {
  resetting_ = false;
  timeline_.begun = event.begun_ns;
  timeline_.memory_done = event.memory_done_ns;
  timeline_.state_done = event.state_done_ns;
  return {};
}

Status MicroVm::Impl::Handle(const wire::SnapshotTakenEvent& event) {
  snapshot_ = event;
  return {};
}

Status MicroVm::Impl::Handle(const wire::PrimedEvent& /*event*/) {
  return Fail(ErrorCode::kCorrupt, "the VMM said that it is primed where it was not asked to be");
}

Status MicroVm::Impl::Handle(const wire::WorkingSetRecordedEvent& /*event*/) {
  working_set_recorded_ = true;
  return {};
}

Status MicroVm::Impl::Handle(const wire::EndedEvent& event) {
  said_last_word_ = true;
  const std::string panic = console_.PanicLine();
  if (!panic.empty()) return Fail(ErrorCode::kGuestError, "the guest kernel panicked: {}", panic);
  const std::string exit = console_.RuntimeExitLine();
  if (!exit.empty()) return Fail(ErrorCode::kGuestError, "{}", exit);
  const std::string detail = event.detail.empty() ? "" : fmt::format(" ({})", event.detail);
  // Before it, there was nothing of a function.
  const bool had_function = timeline_.mounted != 0 || timeline_.state_done != 0;
  const std::string what = had_function ? fmt::format("{} without providing a reason: ", wire::kRuntimeExited) : "";
  switch (event.reason) {
    case wire::EndReason::kPowerOff:
      return Fail(ErrorCode::kGuestError, "{}the guest switched itself off{}; {}", what, detail, Progress());
    case wire::EndReason::kReset:
      return Fail(ErrorCode::kGuestError, "{}the guest reset itself{}; {}", what, detail, Progress());
    case wire::EndReason::kStopped:
      break;
  }
  return Fail(ErrorCode::kUnavailable, "the VMM stopped{}; {}", detail, Progress());
}

Status MicroVm::Impl::Handle(const wire::FailedEvent& event) {
  said_last_word_ = true;
  return Forward(event.error);
}

std::string MicroVm::Impl::Progress() const {
  const std::string line = console_.LastLine();
  return fmt::format("its last mark was: {}; its console {}", LastMark(timeline_),
                     line.empty() ? "is empty" : fmt::format("ends with \"{}\"", line));
}

tl::unexpected<Error> MicroVm::Impl::Explain(Error error, std::string_view waited_for, int64_t began_ns) {
  if (!said_last_word_ && error.code == ErrorCode::kTimedOut) {
    const double seconds = static_cast<double>(MonotonicNanos() - began_ns) / static_cast<double>(kSecond);
    return Fail(ErrorCode::kTimedOut, "{} within {:.1f} s; {}", waited_for, seconds, Progress());
  }
  if (said_last_word_ || error.code != ErrorCode::kUnavailable) return Forward(std::move(error));
  // A socket is closed: the VMM is gone, or as good as gone. What it said before is still to be read.
  const int64_t patience_ends = MonotonicNanos() + kLastWordsPatience;
  auto heard = Step(patience_ends);
  while (heard) heard = Step(patience_ends);
  if (said_last_word_) return Forward(heard.error());
  return Fail(ErrorCode::kUnavailable, "snapfaas-vmm {}; the guest's last mark was: {}", shell_.process().DescribeEnd(),
              LastMark(timeline_));
}

Result<MicroVm> MicroVm::Create(Shell shell, int64_t launched_ns) {
  auto console = ConsoleLog::Create();
  if (!console) return Forward(console.error());
  auto channel = wire::SocketPair(SOCK_STREAM);
  if (!channel) return Forward(channel.error());
  return MicroVm(std::make_unique<Impl>(std::move(shell), launched_ns, std::move(*console), std::move(channel->first),
                                        std::move(channel->second)));
}

Result<MicroVm> MicroVm::Launch(Spawner& spawner, const VmSize& size, int64_t deadline_ns) {
  const int64_t launched_ns = MonotonicNanos();
  auto shell = Shell::Start(spawner, size, deadline_ns);
  if (!shell) return Forward(shell.error());
  return Create(std::move(*shell), launched_ns);
}

MicroVm::MicroVm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MicroVm::MicroVm(MicroVm&&) noexcept = default;
MicroVm& MicroVm::operator=(MicroVm&&) noexcept = default;
MicroVm::~MicroVm() = default;

Status MicroVm::Boot(BootImages images, FunctionFiles function, int64_t deadline_ns) {
  return impl_->Boot(std::move(images), std::move(function), deadline_ns);
}

Status MicroVm::Restore(RestoreImages images, FunctionFiles function, int64_t deadline_ns) {
  return impl_->Restore(std::move(images), std::move(function), deadline_ns);
}

Result<Response> MicroVm::RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                           int64_t deadline_ns) {
  return impl_->RestoreAndInvoke(std::move(images), std::move(function), request, deadline_ns, nullptr);
}

Result<Response> MicroVm::RestoreAndInvoke(RestoreImages images, FunctionFiles function, const Request& request,
                                           int64_t deadline_ns, const OnceLoaded& once_loaded) {
  return impl_->RestoreAndInvoke(std::move(images), std::move(function), request, deadline_ns, &once_loaded);
}

Status MicroVm::Reset(UniqueFd log, int64_t deadline_ns) { return impl_->Reset(std::move(log), deadline_ns); }

Result<snapshot::WorkingSet> MicroVm::RecordWorkingSet(int64_t deadline_ns) {
  return impl_->RecordWorkingSet(deadline_ns);
}

Result<wire::SnapshotTakenEvent> MicroVm::RestoreToSnapshot(RestoreImages images, FunctionFiles function,
                                                            UniqueFd state, UniqueFd memory, int64_t deadline_ns) {
  return impl_->RestoreToSnapshot(std::move(images), std::move(function), std::move(state), std::move(memory),
                                  deadline_ns);
}

Result<wire::SnapshotTakenEvent> MicroVm::BootToSnapshot(BootImages images, UniqueFd state, UniqueFd memory,
                                                         int64_t deadline_ns) {
  return impl_->BootToSnapshot(std::move(images), std::move(state), std::move(memory), deadline_ns);
}

Result<Response> MicroVm::Invoke(const Request& request, int64_t deadline_ns) {
  return impl_->Invoke(request, deadline_ns);
}

const std::string& MicroVm::init_error() const { return impl_->init_error(); }
const Timeline& MicroVm::timeline() const { return impl_->timeline(); }
pid_t MicroVm::pid() const { return impl_->pid(); }

bool MicroVm::IsAlive() const { return impl_->IsAlive(); }

}  // namespace snapfaas::faas
