#include "devices/virtio/pmem.h"

#include <cstring>

namespace snapfaas::devices::virtio {
namespace {

constexpr uint16_t kPmemQueueSizes[] = {16};

// 5.19.6
constexpr uint32_t kRequestFlush = 0;
constexpr uint32_t kResultOk = 0;
constexpr uint32_t kResultFailed = 1;

}  // namespace

VirtioPmem::VirtioPmem(GuestAddress start, const PmemState& state) : state_(state) {
  // 5.19.4: le64 start, le64 size.
  const uint64_t address = start.value();
  std::memcpy(config_space_.data(), &address, sizeof(address));
  std::memcpy(config_space_.data() + sizeof(address), &state_.size, sizeof(state_.size));
}

std::span<const uint16_t> VirtioPmem::queue_max_sizes() const { return kPmemQueueSizes; }

Status VirtioPmem::ProcessQueue(size_t index) {
  Queue* queue = host()->queue(index);
  if (queue == nullptr) return {};
  bool used = false;
  for (;;) {
    auto popped = queue->Pop();
    if (!popped) return Forward(popped.error());
    if (!popped->has_value()) break;
    DescriptorChain chain = std::move(**popped);
    uint32_t type = 0;
    uint32_t result = kResultFailed;
    if (chain.writable_bytes() < sizeof(result)) {
      queue->PutBack(std::move(chain));
      return Fail(ErrorCode::kGuestError, "a pmem request has no room for its result");
    }
    const bool whole = chain.CopyOut(0, {reinterpret_cast<uint8_t*>(&type), sizeof(type)}) == sizeof(type);
    if (whole && type == kRequestFlush) result = kResultOk;
    const size_t written = chain.CopyIn(0, {reinterpret_cast<const uint8_t*>(&result), sizeof(result)});
    queue->Return(std::move(chain), static_cast<uint32_t>(written));
    used = true;
  }
  if (used) host()->SignalUsed(index);
  return {};
}

}  // namespace snapfaas::devices::virtio
