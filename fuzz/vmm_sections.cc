// Any bytes as what the VMM keeps in a state file: as each of its structures, and as all sections of one machine. What
// is accepted must be encoded to the same bytes again.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/coding.h"
#include "kvm/vcpu_state.h"
#include "kvm/vm.h"
#include "require.h"
#include "vmm/device_set.h"
#include "vmm/snapshotter.h"

namespace {

using snapfaas::fuzz::Require;
namespace snapshot = snapfaas::snapshot;
namespace vmm = snapfaas::vmm;

constexpr size_t kXsaveBytes = 4096;
constexpr uint32_t kMostVcpus = 2;

template <typename State>
void CheckAs(std::span<const uint8_t> bytes) {
  const auto state = State::Decode(bytes);
  if (!state) return;
  snapfaas::ByteWriter writer;
  state->Encode(writer);
  Require(std::ranges::equal(writer.bytes(), bytes), "a state that was accepted is encoded to the same bytes");
}

// The sections of an empty machine, for their ids and usual sizes.
std::vector<snapshot::Section> SectionsFor(uint32_t vcpus) {
  vmm::MachineState machine;
  machine.vcpus.resize(vcpus);
  for (auto& vcpu : machine.vcpus) vcpu.xsave.resize(kXsaveBytes);
  return vmm::ToSections(machine);
}

// The first byte says how many vCPUs there are and which section is missing, if any; then the sections follow, each of
// its usual size, the last of what is left.
void CheckMachine(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  snapshot::StateFile file;
  file.machine.vcpus = 1 + bytes[0] % kMostVcpus;
  const size_t missing = bytes[0] / kMostVcpus;
  bytes = bytes.subspan(1);
  file.sections = SectionsFor(file.machine.vcpus);
  for (auto& section : file.sections) {
    const size_t usual = &section == &file.sections.back() ? bytes.size() : section.bytes.size();
    const auto part = bytes.first(std::min(usual, bytes.size()));
    section.bytes.assign(part.begin(), part.end());
    bytes = bytes.subspan(part.size());
  }
  const bool incomplete = missing < file.sections.size();
  if (incomplete) file.sections.erase(file.sections.begin() + static_cast<ptrdiff_t>(missing));
  const auto machine = vmm::FromSections(file);
  if (!machine) return;
  Require(!incomplete, "a machine that lacks a section is refused");
  Require(vmm::ToSections(*machine) == file.sections, "a machine that was accepted has the same sections again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  CheckAs<snapfaas::kvm::VmState>(bytes);
  CheckAs<snapfaas::kvm::VcpuState>(bytes);
  CheckAs<vmm::DeviceSetState>(bytes);
  CheckMachine(bytes);
  return 0;
}
