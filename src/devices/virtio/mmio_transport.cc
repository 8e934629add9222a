#include "devices/virtio/mmio_transport.h"

#include <algorithm>
#include <cstring>

namespace snapfaas::devices::virtio {
namespace {

// 4.2.2, table "MMIO Device Register Layout".
constexpr uint64_t kMagicValue = 0x000;
constexpr uint64_t kVersion = 0x004;
constexpr uint64_t kDeviceId = 0x008;
constexpr uint64_t kVendorId = 0x00c;
constexpr uint64_t kDeviceFeatures = 0x010;
constexpr uint64_t kDeviceFeaturesSel = 0x014;
constexpr uint64_t kDriverFeatures = 0x020;
constexpr uint64_t kDriverFeaturesSel = 0x024;
constexpr uint64_t kQueueSel = 0x030;
constexpr uint64_t kQueueNumMax = 0x034;
constexpr uint64_t kQueueNum = 0x038;
constexpr uint64_t kQueueReady = 0x044;
constexpr uint64_t kQueueNotify = kMmioQueueNotifyOffset;
constexpr uint64_t kInterruptStatus = 0x060;
constexpr uint64_t kInterruptAck = 0x064;
constexpr uint64_t kStatus = 0x070;
constexpr uint64_t kQueueDescLow = 0x080;
constexpr uint64_t kQueueDescHigh = 0x084;
constexpr uint64_t kQueueDriverLow = 0x090;
constexpr uint64_t kQueueDriverHigh = 0x094;
constexpr uint64_t kQueueDeviceLow = 0x0a0;
constexpr uint64_t kQueueDeviceHigh = 0x0a4;
constexpr uint64_t kShmLenLow = 0x0b0;
constexpr uint64_t kShmBaseHigh = 0x0bc;
constexpr uint64_t kConfig = 0x100;

constexpr uint32_t kMagic = 0x7472'6976;   // "virt"
constexpr uint32_t kVendor = 0x4650'4e53;  // "SNPF"

// 2.1
constexpr uint32_t kAcknowledge = 1;
constexpr uint32_t kDriver = 2;
constexpr uint32_t kDriverOk = 4;
constexpr uint32_t kFeaturesOk = 8;
constexpr uint32_t kNeedsReset = 64;
constexpr uint32_t kFailed = 128;
constexpr uint32_t kAllStatus = kAcknowledge | kDriver | kDriverOk | kFeaturesOk | kNeedsReset | kFailed;

constexpr uint32_t kUsedBufferInterrupt = 1;
constexpr uint32_t kConfigInterrupt = 2;

constexpr uint32_t kMaxQueues = 16;

uint32_t Half(uint64_t value, uint32_t select) {
  return select > 1 ? 0 : static_cast<uint32_t>(value >> (32 * select));
}

void SetHalf(uint64_t& value, uint32_t select, uint32_t half) {
  if (select > 1) return;
  const unsigned shift = 32 * select;
  value = (value & ~(uint64_t{0xffff'ffff} << shift)) | (uint64_t{half} << shift);
}

bool HasInTurn(uint32_t status) {
  const auto implies = [status](uint32_t bit, uint32_t before) {
    return (status & bit) == 0 || (status & before) == before;
  };
  return implies(kDriver, kAcknowledge) && implies(kFeaturesOk, kDriver) && implies(kDriverOk, kFeaturesOk);
}

bool FeaturesAcceptable(uint64_t chosen, uint64_t offered) {
  return (chosen & ~offered) == 0 && (chosen & kFeatureVersion1) != 0;
}

}  // namespace

void TransportState::Encode(ByteWriter& writer) const {
  writer.Put(device_type);
  writer.Put(status);
  writer.Put(interrupt_status);
  writer.Put(driver_features);
  writer.Put(device_features_select);
  writer.Put(driver_features_select);
  writer.Put(queue_select);
  writer.Put(static_cast<uint32_t>(queues.size()));
  for (const QueueState& queue : queues) queue.Encode(writer);
}

TransportState TransportState::Decode(ByteReader& reader) {
  TransportState state;
  state.device_type = reader.Get<uint32_t>();
  state.status = reader.Get<uint32_t>();
  state.interrupt_status = reader.Get<uint32_t>();
  state.driver_features = reader.Get<uint64_t>();
  state.device_features_select = reader.Get<uint32_t>();
  state.driver_features_select = reader.Get<uint32_t>();
  state.queue_select = reader.Get<uint32_t>();
  const uint32_t count = reader.GetCount(kMaxQueues);
  for (uint32_t i = 0; i < count && reader.ok(); ++i) state.queues.push_back(QueueState::Decode(reader));
  return state;
}

MmioTransport::MmioTransport(VirtioDevice& device, GuestMemory& memory, Interrupt& interrupt)
    : device_(device), memory_(memory), interrupt_(interrupt) {
  state_.device_type = static_cast<uint32_t>(device.type());
  state_.queues.resize(queue_count());
  queues_.resize(queue_count());
}

MmioTransport::~MmioTransport() {
  const std::lock_guard lock(device_.mutex());
  device_.Deactivate();
}

Result<std::unique_ptr<MmioTransport>> MmioTransport::Create(VirtioDevice& device, GuestMemory& memory,
                                                             Interrupt& interrupt, const TransportState* state) {
  std::unique_ptr<MmioTransport> transport(new MmioTransport(device, memory, interrupt));
  if (state == nullptr) return transport;
  const std::lock_guard lock(device.mutex());
  auto restored = transport->Restore(*state);
  if (restored) return transport;
  // The lock must be free before the transport goes; nothing of it is active yet.
  return Forward(restored.error(), device.name());
}

Status MmioTransport::Restore(const TransportState& state) {
  if (state.device_type != state_.device_type || state.queues.size() != state_.queues.size()) {
    return Fail(ErrorCode::kIncompatible, "the saved state is of a device of type {} with {} queues, not {} with {}",
                state.device_type, state.queues.size(), state_.device_type, state_.queues.size());
  }
  if ((state.status & ~kAllStatus) != 0 || !HasInTurn(state.status) ||
      (state.interrupt_status & ~(kUsedBufferInterrupt | kConfigInterrupt)) != 0) {
    return Fail(ErrorCode::kCorrupt, "the saved status {:#x} with interrupts {:#x} cannot be", state.status,
                state.interrupt_status);
  }
  const bool negotiated = (state.status & kFeaturesOk) != 0;
  if (negotiated && !FeaturesAcceptable(state.driver_features, offered_features())) {
    return Fail(ErrorCode::kIncompatible, "the saved features {:#x} are not among those offered, {:#x}",
                state.driver_features, offered_features());
  }
  for (size_t i = 0; i < state.queues.size(); ++i) {
    if (!state.queues[i].ready) continue;
    if (!negotiated) return Fail(ErrorCode::kCorrupt, "saved queue {} is ready before features were negotiated", i);
    auto queue = Queue::Create(memory_, state.queues[i], device_.queue_max_sizes()[i]);
    if (!queue) return Fail(ErrorCode::kCorrupt, "saved queue {}: {}", i, queue.error().context);
    queues_[i] = std::move(*queue);
  }
  state_ = state;
  if ((state_.status & kDriverOk) != 0) device_.Activate(*this);
  return {};
}

bool MmioTransport::live() const { return (state_.status & (kDriverOk | kNeedsReset)) == kDriverOk; }

Queue* MmioTransport::queue(size_t index) {
  return live() && index < queues_.size() && queues_[index].has_value() ? &*queues_[index] : nullptr;
}

void MmioTransport::SignalUsed(size_t index) {
  const Queue* used = queue(index);
  if (used == nullptr || !used->WantsInterrupt()) return;
  state_.interrupt_status |= kUsedBufferInterrupt;
  interrupt_.Trigger();
}

void MmioTransport::MarkBroken(const Error& error) {
  if (!live()) return;
  broken_reason_ = error.context;
  state_.status |= kNeedsReset;
  // 2.1.2: a configuration change notification must follow.
  state_.interrupt_status |= kConfigInterrupt;
  interrupt_.Trigger();
}

void MmioTransport::NotifyQueue(size_t index) {
  const std::lock_guard lock(device_.mutex());
  Serve(index);
}

void MmioTransport::Serve(size_t index) {
  if (queue(index) == nullptr) return;
  auto served = device_.ProcessQueue(index);
  if (!served) MarkBroken(served.error());
}

TransportState MmioTransport::Save() const {
  const std::lock_guard lock(device_.mutex());
  TransportState state = state_;
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (queues_[i].has_value()) state.queues[i] = queues_[i]->state();
  }
  return state;
}

void MmioTransport::Kick() {
  const std::lock_guard lock(device_.mutex());
  for (size_t i = 0; i < queues_.size(); ++i) Serve(i);
  if (state_.interrupt_status != 0) interrupt_.Trigger();
}

std::string MmioTransport::broken_reason() const {
  const std::lock_guard lock(device_.mutex());
  return broken_reason_;
}

void MmioTransport::Read(uint64_t offset, std::span<uint8_t> data) {
  const std::lock_guard lock(device_.mutex());
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (offset >= kConfig) {
    ReadConfig(offset - kConfig, data);
  } else if (data.size() == sizeof(uint32_t) && offset % sizeof(uint32_t) == 0) {
    const uint32_t value = ReadRegister(offset);
    std::memcpy(data.data(), &value, sizeof(value));
  }
}

void MmioTransport::Write(uint64_t offset, std::span<const uint8_t> data) {
  // No device of ours has a configuration that the driver may write.
  if (offset >= kConfig || data.size() != sizeof(uint32_t) || offset % sizeof(uint32_t) != 0) return;
  uint32_t value = 0;
  std::memcpy(&value, data.data(), sizeof(value));
  const std::lock_guard lock(device_.mutex());
  WriteRegister(offset, value);
}

void MmioTransport::ReadConfig(uint64_t offset, std::span<uint8_t> data) const {
  const auto config = device_.config();
  if (offset >= config.size()) return;
  const auto available = config.subspan(static_cast<size_t>(offset));
  std::copy_n(available.begin(), std::min(available.size(), data.size()), data.begin());
}

uint32_t MmioTransport::ReadRegister(uint64_t offset) const {
  const bool has_queue = state_.queue_select < state_.queues.size();
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return 2;
    case kDeviceId:
      return state_.device_type;
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return Half(offered_features(), state_.device_features_select);
    case kQueueNumMax:
      return has_queue ? device_.queue_max_sizes()[state_.queue_select] : 0;
    case kQueueReady:
      return has_queue && state_.queues[state_.queue_select].ready ? 1 : 0;
    case kInterruptStatus:
      return state_.interrupt_status;
    case kStatus:
      return state_.status;
    default:
      // A shared memory region that does not exist has length and base of all ones (4.2.2). ConfigGeneration is 0 for
      // ever, since no configuration changes.
      return offset >= kShmLenLow && offset <= kShmBaseHigh ? 0xffff'ffff : 0;
  }
}

void MmioTransport::WriteRegister(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSel:
      state_.device_features_select = value;
      break;
    case kDriverFeatures:
      WriteDriverFeatures(value);
      break;
    case kDriverFeaturesSel:
      state_.driver_features_select = value;
      break;
    case kQueueSel:
      state_.queue_select = value;
      break;
    case kQueueNotify:
      Serve(value);
      break;
    case kInterruptAck:
      state_.interrupt_status &= ~value;
      break;
    case kStatus:
      WriteStatus(value);
      break;
    default:
      WriteQueueRegister(offset, value);
      break;
  }
}

void MmioTransport::WriteStatus(uint32_t value) {
  if (value == 0) {
    ResetDevice();
    return;
  }
  // In the order of 3.1.1, so that a driver may set several at once.
  const uint32_t before = state_.status;
  if ((value & kAcknowledge) != 0) state_.status |= kAcknowledge;
  if ((value & kDriver) != 0 && (state_.status & kAcknowledge) != 0) state_.status |= kDriver;
  if ((value & kFeaturesOk) != 0 && (state_.status & kDriver) != 0 &&
      FeaturesAcceptable(state_.driver_features, offered_features())) {
    state_.status |= kFeaturesOk;
  }
  if ((value & kDriverOk) != 0 && (state_.status & kFeaturesOk) != 0) state_.status |= kDriverOk;
  if ((value & kFailed) != 0) state_.status |= kFailed;
  if ((state_.status & ~before & kDriverOk) != 0) device_.Activate(*this);
}

void MmioTransport::WriteDriverFeatures(uint32_t value) {
  if ((state_.status & (kDriver | kFeaturesOk)) != kDriver) return;
  SetHalf(state_.driver_features, state_.driver_features_select, value);
}

void MmioTransport::WriteQueueRegister(uint64_t offset, uint32_t value) {
  if ((state_.status & (kFeaturesOk | kDriverOk)) != kFeaturesOk || state_.queue_select >= state_.queues.size()) return;
  if (offset == kQueueReady) {
    SetQueueReady(state_.queue_select, value);
    return;
  }
  QueueState& queue = state_.queues[state_.queue_select];
  if (queue.ready) return;
  switch (offset) {
    case kQueueNum:
      queue.size = value;
      break;
    case kQueueDescLow:
    case kQueueDescHigh:
      SetHalf(queue.descriptor_area, offset == kQueueDescHigh ? 1 : 0, value);
      break;
    case kQueueDriverLow:
    case kQueueDriverHigh:
      SetHalf(queue.driver_area, offset == kQueueDriverHigh ? 1 : 0, value);
      break;
    case kQueueDeviceLow:
    case kQueueDeviceHigh:
      SetHalf(queue.device_area, offset == kQueueDeviceHigh ? 1 : 0, value);
      break;
    default:
      break;
  }
}

void MmioTransport::SetQueueReady(size_t index, uint32_t value) {
  QueueState& queue = state_.queues[index];
  queues_[index].reset();
  queue.ready = value == 1;
  if (!queue.ready) return;
  auto made = Queue::Create(memory_, queue, device_.queue_max_sizes()[index]);
  if (made) {
    queues_[index] = std::move(*made);
  } else {
    queue.ready = false;  // a queue that cannot be stays not ready, which the driver can read back
  }
}

void MmioTransport::ResetDevice() {
  device_.Deactivate();
  device_.Reset();
  for (auto& queue : queues_) queue.reset();
  const uint32_t type = state_.device_type;
  state_ = TransportState{};
  state_.device_type = type;
  state_.queues.resize(queues_.size());
  broken_reason_.clear();
}

}  // namespace snapfaas::devices::virtio
