#include "vmm/snapshotter.h"

namespace snapfaas::vmm {
namespace {

constexpr uint32_t kVmSection = snapshot::kFirstVmmSection;
constexpr uint32_t kDevicesSection = snapshot::kFirstVmmSection + 1;
constexpr uint32_t kFirstVcpuSection = snapshot::kFirstVmmSection + 16;

template <typename State>
snapshot::Section ToSection(uint32_t id, const State& state) {
  ByteWriter writer;
  state.Encode(writer);
  return {id, writer.Take()};
}

template <typename State>
Result<State> FromSection(const snapshot::StateFile& file, uint32_t id) {
  const snapshot::Section* section = file.Find(id);
  if (section == nullptr) return Fail(ErrorCode::kCorrupt, "the snapshot's state lacks section {}", id);
  return State::Decode(section->bytes);
}

}  // namespace

std::vector<snapshot::Section> ToSections(const MachineState& state) {
  std::vector<snapshot::Section> sections;
  sections.push_back(ToSection(kVmSection, state.vm));
  sections.push_back(ToSection(kDevicesSection, state.devices));
  for (uint32_t i = 0; i < state.vcpus.size(); ++i) {
    sections.push_back(ToSection(kFirstVcpuSection + i, state.vcpus[i]));
  }
  return sections;
}

Result<MachineState> FromSections(const snapshot::StateFile& file) {
  MachineState state;
  auto vm = FromSection<kvm::VmState>(file, kVmSection);
  if (!vm) return Forward(vm.error());
  state.vm = *vm;
  auto devices = FromSection<DeviceSetState>(file, kDevicesSection);
  if (!devices) return Forward(devices.error());
  state.devices = std::move(*devices);
  for (uint32_t i = 0; i < file.machine.vcpus; ++i) {
    auto vcpu = FromSection<kvm::VcpuState>(file, kFirstVcpuSection + i);
    if (!vcpu) return Forward(vcpu.error());
    state.vcpus.push_back(std::move(*vcpu));
  }
  return state;
}

}  // namespace snapfaas::vmm
