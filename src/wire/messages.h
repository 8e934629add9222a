// What a launcher and a snapfaas-vmm process say to each other over the control socket (SOCK_SEQPACKET): one message
// a packet, descriptors passed along. A VMM obeys one Boot or Restore in its life, before a Restore one Prime, and
// after it any number of RecordWorkingSet and Reset; it ends when the socket closes.
//
//   launcher                          vmm
//     |  <- ShellReady                 |   KVM VM, irqchip, vCPUs and devices are there, nothing is loaded
//     |  Prime ->                      |   (while nobody waits for it) the memory of a base snapshot
//     |  <- Primed                     |
//     |  Boot | Restore ->             |
//     |  <- Restored                   |   (after Restore, Reset) just before the first guest instruction
//     |  <- Mark...                    |   doorbell writes, stamped
//     |  RecordWorkingSet ->           |
//     |  <- WorkingSetRecorded         |
//     |  Reset ->                      |   back to the state that was restored, as another microVM
//     |  <- Restored, Mark...          |
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
  UniqueFd runtimefs;  // the root file system, read only
  UniqueFd appfs;      // /dev/pmem1, read only
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
  kCopy = 0,      // read all pages into fresh memory (the poster's way)
  kMmap = 1,      // map the memory image privately, copy on write: pages come when they are touched
  kPrefetch = 2,  // as kMmap, and bring in at once the pages that the plan names
};

// The files of a snapshot, as snapshot/page_loader.h has them. Each but state and memory may be absent.
struct SnapshotFds {
  UniqueFd state;
  UniqueFd memory;   // a complete image
  UniqueFd overlay;  // of a function snapshot
  UniqueFd kernel;
  // From disk:
  UniqueFd packed;       // the working set's pages
  UniqueFd kernel_text;  // in memory
  UniqueFd plan;
};

// Puts the memory of a base snapshot into a shell, with the pages that its plan names, before it is known what for.
struct PrimeCommand {
  SnapshotFds snapshot;
  UniqueFd runtimefs;
};

struct RestoreCommand {
  RestoreMode mode = RestoreMode::kMmap;
  // In a shell that was primed with this snapshot: nothing. In one primed with the base of this function snapshot: its
  // state, overlay and plan.
  SnapshotFds snapshot;
  DeviceFds devices;
  VmIdentity identity;
  // Both or neither: empty files to be filled with a function snapshot when the function is loaded and every vCPU has
  // rung 124 once more.
  UniqueFd function_state;
  UniqueFd function_memory;
};

struct RecordWorkingSetCommand {
  UniqueFd file;  // empty; takes snapshot::EncodeWorkingSet with a snapshot checksum of 0
};

// Drops all that the guest has done since the restore.
struct ResetCommand {
  UniqueFd channel;
  UniqueFd log;
  VmIdentity identity;
};

using Command = std::variant<BootCommand, RestoreCommand, RecordWorkingSetCommand, ResetCommand, PrimeCommand>;

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

struct PrimedEvent {};

struct WorkingSetRecordedEvent {
  uint64_t read_pages = 0;
  uint64_t written_pages = 0;
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

using Event = std::variant<ShellReadyEvent, MarkEvent, RestoredEvent, SnapshotTakenEvent, EndedEvent, FailedEvent,
                           WorkingSetRecordedEvent, PrimedEvent>;

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
