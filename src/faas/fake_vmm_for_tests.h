// FakeVmm: plays snapfaas-vmm and its guest in a thread, over the real socket and messages, for tests of the launcher.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "faas/spawner.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace snapfaas::faas {

inline constexpr int64_t kTestPatience = 20'000'000'000;

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
    if (auto* found = std::get_if<wire::BootCommand>(&*command)) {
      boot = std::move(*found);
      channel_ = std::move(boot->devices.channel);
      console_ = std::move(boot->devices.console);
    } else {
      restore = std::move(std::get<wire::RestoreCommand>(*command));
      channel_ = std::move(restore->devices.channel);
      console_ = std::move(restore->devices.console);
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
  std::optional<wire::Frame> ReceiveFrame() {
    auto frame = wire::ReadFrame(channel_.get(), parser_, MonotonicNanos() + kTestPatience);
    if (!frame) return std::nullopt;
    return std::move(*frame);
  }
  void PrintOnConsole(std::string_view text) { (void)!::write(console_.get(), text.data(), text.size()); }
  void CloseChannel() { channel_.Reset(); }

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

 private:
  UniqueFd control_;
  UniqueFd channel_;
  UniqueFd console_;
  wire::FrameParser parser_;
};

// Each spawned VMM runs the script once, in a thread of its own that ends with the VmmProcess.
class FakeSpawner : public Spawner {
 public:
  using Script = std::function<void(FakeVmm& vmm)>;
  explicit FakeSpawner(Script script) : script_(std::move(script)) {}

  Result<std::unique_ptr<VmmProcess>> Spawn(const VmSize& size) override {
    last_size = size;
    auto sockets = wire::SocketPair(SOCK_SEQPACKET);
    if (!sockets) return Forward(sockets.error());
    return std::unique_ptr<VmmProcess>(
        std::make_unique<Process>(std::move(sockets->first), std::move(sockets->second), script_));
  }

  VmSize last_size;

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
    std::string DescribeEnd() override { return "was killed by signal 9 (Killed)"; }

   private:
    UniqueFd control_;
    std::thread thread_;
  };

  Script script_;
};

}  // namespace snapfaas::faas
