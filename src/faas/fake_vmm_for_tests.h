// FakeVmm: plays snapfaas-vmm and its guest in a thread, over the real socket and messages, for tests of the launcher.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "faas/spawner.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace snapfaas::faas {

inline constexpr int64_t kTestPatience = 20'000'000'000;
inline int64_t Soon() { return MonotonicNanos() + kTestPatience; }

// What a script sees: the VMM's side of the sockets. Its destruction closes them, as the end of the process would.
class FakeVmm {
 public:
  explicit FakeVmm(UniqueFd control) : control_(std::move(control)) {}

  void Send(const wire::Event& event) { (void)wire::SendPacket(control_.get(), wire::EncodeEvent(event)); }
  void SendShellReady() { Send(wire::ShellReadyEvent{MonotonicNanos()}); }
  void SendMark(wire::Doorbell value) { Send(wire::MarkEvent{value, 0, MonotonicNanos()}); }
  void SendRaw(std::string_view bytes) {
    wire::Packet packet;
    packet.bytes.assign(bytes.begin(), bytes.end());
    (void)wire::SendPacket(control_.get(), packet);
  }

  // The command, whose devices are then kept; nothing when the launcher closed the socket.
  bool ReceiveCommand() {
    auto packet = wire::ReceivePacket(control_.get(), MonotonicNanos() + kTestPatience);
    if (!packet) return false;
    auto command = wire::DecodeCommand(std::move(*packet));
    if (!command) return false;
    if (auto* to_boot = std::get_if<wire::BootCommand>(&*command)) {
      boot = std::move(*to_boot);
      Take(boot->devices);
    } else if (auto* to_restore = std::get_if<wire::RestoreCommand>(&*command)) {
      restore = std::move(*to_restore);
      Take(restore->devices);
    } else if (auto* to_reset = std::get_if<wire::ResetCommand>(&*command)) {
      ++resets;
      channel_ = std::move(to_reset->channel);
      log_ = std::move(to_reset->log);
      parser_ = wire::FrameParser();
    } else if (auto* to_record = std::get_if<wire::RecordWorkingSetCommand>(&*command)) {
      record = std::move(*to_record);
    } else {
      return false;
    }
    return true;
  }

  // Waits until the launcher has closed the control socket.
  void WaitForLauncherToClose() {
    while (wire::ReceivePacket(control_.get(), MonotonicNanos() + kTestPatience)) {
    }
  }

  void SendFrame(std::string_view kind, std::string_view payload) {
    (void)wire::WriteFrame(channel_.get(), kind, payload, MonotonicNanos() + kTestPatience);
  }
  void SendChannelBytes(std::string_view bytes) {
    (void)::send(channel_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // Nothing when the launcher has closed the channel or the control socket, or the guest was told something odd.
  std::optional<wire::Frame> ReceiveFrame() {
    for (;;) {
      auto frame = parser_.Next();
      if (!frame) return std::nullopt;
      if (frame->has_value()) return std::move(**frame);
      std::array<pollfd, 2> polled{pollfd{channel_.get(), POLLIN, 0}, pollfd{control_.get(), 0, 0}};
      if (::poll(polled.data(), polled.size(), kTestPatience / 1'000'000) <= 0 || polled[1].revents != 0) {
        return std::nullopt;
      }
      std::array<char, 4096> bytes;
      const ssize_t got = ::recv(channel_.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) return std::nullopt;
      parser_.Append({bytes.data(), static_cast<size_t>(got)});
    }
  }
  void PrintOnConsole(std::string_view text) { (void)!::write(console_.get(), text.data(), text.size()); }
  void PrintOnLog(std::string_view text) { (void)!::write(log_.get(), text.data(), text.size()); }
  void CloseChannel() { channel_.Reset(); }
  // As the end of the process does, but seen by the launcher when this returns.
  void CloseControl() { control_.Reset(); }

  // From power-on to 126, by a restore. False: the launcher wanted no microVM.
  bool RestoreUp() {
    SendShellReady();
    if (!ReceiveCommand() || !restore) return false;
    SendRestored();
    return true;
  }
  // To 126, also of a reset.
  void SendRestored() {
    const int64_t now = MonotonicNanos();
    Send(wire::RestoredEvent{now, now, now});
    SendMark(wire::Doorbell::kMounted);
    SendMark(wire::Doorbell::kReady);
  }

  // From power-on to 126.
  void BootUp() {
    SendShellReady();
    if (!ReceiveCommand()) return;
    SendMark(wire::Doorbell::kKernelUp);
    SendMark(wire::Doorbell::kAgentUp);
    SendMark(wire::Doorbell::kRuntimeUp);
    SendMark(wire::Doorbell::kSnapshot);
    SendMark(wire::Doorbell::kMounted);
    SendMark(wire::Doorbell::kReady);
  }

  // Only after ReceiveCommand.
  std::optional<wire::BootCommand> boot;
  std::optional<wire::RestoreCommand> restore;
  std::optional<wire::RecordWorkingSetCommand> record;
  int resets = 0;

 private:
  void Take(wire::DeviceFds& devices) {
    channel_ = std::move(devices.channel);
    log_ = std::move(devices.log);
    console_ = std::move(devices.console);
  }

  UniqueFd control_;
  UniqueFd channel_;
  UniqueFd log_;
  UniqueFd console_;
  wire::FrameParser parser_;
};

// Each spawned VMM runs the script once, in a thread of its own that ends with the VmmProcess.
class FakeSpawner : public Spawner {
 public:
  using Script = std::function<void(FakeVmm& vmm)>;
  explicit FakeSpawner(Script script) : script_(std::move(script)) {}

  Result<std::unique_ptr<VmmProcess>> Spawn(const VmSize& size) override {
    {
      const std::lock_guard lock(mutex_);
      sizes_.push_back(size);
    }
    auto sockets = wire::SocketPair(SOCK_SEQPACKET);
    if (!sockets) return Forward(sockets.error());
    return std::unique_ptr<VmmProcess>(
        std::make_unique<Process>(std::move(sockets->first), std::move(sockets->second), script_));
  }

  // Of all VMMs that were started, in that order.
  std::vector<VmSize> sizes() const {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }

 private:
  class Process : public VmmProcess {
   public:
    Process(UniqueFd ours, UniqueFd theirs, const Script& script)
        : control_(std::move(ours)), thread_([script, control = std::move(theirs)]() mutable {
            FakeVmm vmm(std::move(control));
            script(vmm);
          }) {}
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() override {
      control_.Reset();
      thread_.join();
    }
    int control() const override { return control_.get(); }
    pid_t pid() const override { return 0; }
    std::string DescribeEnd() override { return "was killed by signal 9 (Killed)"; }

   private:
    UniqueFd control_;
    std::thread thread_;
  };

  Script script_;
  mutable std::mutex mutex_;
  std::vector<VmSize> sizes_;
};

}  // namespace snapfaas::faas
