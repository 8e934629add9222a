// What a launcher and a snapfaas-vmm process say to each other over the control socket (SOCK_SEQPACKET): one message
// a packet, descriptors passed along. A VMM obeys one Boot or Restore in its life; it ends when the socket closes.
//
//   launcher                          vmm
//     |  <- ShellReady                 |   KVM VM, irqchip, vCPUs and devices are there, nothing is loaded
//     |  Boot | Restore ->             |
//     |  <- Restored                   |   (after Restore) just before the first guest instruction
//     |  <- Mark...                    |   doorbell writes, stamped
//     |  <- SnapshotTaken              |   (if asked for) the state and memory files are complete; the VMM then ends
//     |  <- Ended | Failed             |   the last message
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "wire/guest_abi.h"

namespace snapfaas::wire {

// What stands behind a microVM's devices. Each may be absent (invalid).
struct DeviceFds {
  UniqueFd runtimefs;  // /dev/vda, read only
  UniqueFd appfs;      // /dev/vdb, read only
  UniqueFd channel;    // stream socket behind the request port
  UniqueFd log;        // file or pipe that takes what the function prints
  UniqueFd console;    // file that takes the serial console
};

struct VmIdentity {
  std::string vm_id;
  std::string hostname;
};

struct BootCommand {
  std::string cmdline;
  UniqueFd kernel;     // bzImage or ELF
  UniqueFd initramfs;  // may be absent
  DeviceFds devices;
  VmIdentity identity;
  // Both or neither: empty files to be filled when every vCPU has rung 124.
  UniqueFd snapshot_state;
  UniqueFd snapshot_memory;
};

enum class RestoreMode : uint8_t {
  kCopy = 0,  // read the stored pages into fresh memory (the poster's way)
  kMmap = 1,  // map the memory image privately, copy on write
};

struct RestoreCommand {
  RestoreMode mode = RestoreMode::kMmap;
  UniqueFd state;
  UniqueFd memory;
  DeviceFds devices;
  VmIdentity identity;
};

using Command = std::variant<BootCommand, RestoreCommand>;

struct ShellReadyEvent {
  int64_t at_ns = 0;
};

struct MarkEvent {
  Doorbell value{};
  uint32_t vcpu = 0;
  int64_t at_ns = 0;
};

struct RestoredEvent {
  int64_t begun_ns = 0;        // the command was read
  int64_t memory_done_ns = 0;  // memory is in place
  int64_t state_done_ns = 0;   // vCPU, interrupt controller, clock and device state are loaded; vCPUs are let go
};

struct SnapshotTakenEvent {
  uint64_t stored_memory_bytes = 0;  // pages that are not zero
  uint64_t state_bytes = 0;
};

enum class EndReason : uint8_t {
  kPowerOff = 0,  // the guest switched itself off
  kReset = 1,     // the guest reset itself, as a panicking kernel does, or triple-faulted
  kStopped = 2,   // the launcher closed the control socket, or the snapshot is done
};

struct EndedEvent {
  EndReason reason = EndReason::kStopped;
  std::string detail;
};

struct FailedEvent {
  Error error;
};

using Event = std::variant<ShellReadyEvent, MarkEvent, RestoredEvent, SnapshotTakenEvent, EndedEvent, FailedEvent>;

// Encoding is separate from sending so that it can be tested and fuzzed. Descriptors travel beside the bytes, in the
// order of the struct's fields, absent ones left out.
struct Packet {
  std::vector<uint8_t> bytes;
  std::vector<UniqueFd> fds;
};

inline constexpr size_t kMaxPacketBytes = 64 * 1024;
inline constexpr size_t kMaxPacketFds = 16;

Packet EncodeCommand(Command command);
Result<Command> DecodeCommand(Packet packet);
Packet EncodeEvent(const Event& event);
Result<Event> DecodeEvent(const Packet& packet);

Status SendPacket(int socket, const Packet& packet);

// Blocks until a packet comes or `deadline_ns` (MonotonicNanos; negative: none) passes. kUnavailable: the other side
// has closed; kTimedOut: the deadline.
Result<Packet> ReceivePacket(int socket, int64_t deadline_ns);

// A connected SOCK_SEQPACKET pair, close-on-exec.
Result<std::pair<UniqueFd, UniqueFd>> SocketPair(int type);

}  // namespace snapfaas::wire
