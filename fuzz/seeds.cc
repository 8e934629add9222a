// Writes well-formed inputs for every harness, so that a fuzzer need not find out what a snapshot or message is. The
// same program writes the same bytes; what it writes is of the format that this build reads.
//
// Usage: fuzz_seeds FOLDER: makes FOLDER/<harness>/<name>.
#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/manifest.h"
#include "vmm/snapshotter.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace snapfaas {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

constexpr size_t kXsaveBytes = 4096;

Bytes BytesOf(std::string_view text) { return {text.begin(), text.end()}; }

class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) {}

  void Add(const std::string& harness, const std::string& name, const Bytes& bytes) {
    std::error_code error;
    fs::create_directories(folder_ / harness, error);
    std::ofstream file(folder_ / harness / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (error || !file.flush()) bad_ = true;
  }

  template <typename T>
  void Add(const std::string& harness, const std::string& name, const Result<T>& bytes) {
    if (bytes) return Add(harness, name, *bytes);
    std::fprintf(stderr, "fuzz_seeds: %s/%s: %s\n", harness.c_str(), name.c_str(), bytes.error().Message().c_str());
    bad_ = true;
  }

  bool bad() const { return bad_; }

 private:
  fs::path folder_;
  bool bad_ = false;
};

// A machine at rest, with a few values that are not zero.
vmm::MachineState Machine(uint32_t vcpus) {
  vmm::MachineState machine;
  for (uint32_t i = 0; i < machine.vm.irqchips.size(); ++i) machine.vm.irqchips[i].chip_id = i;
  machine.vm.clock.clock = 1'000'000'000;
  for (auto& transport : machine.devices.transports) transport.queues.resize(2);
  for (uint32_t i = 0; i < vcpus; ++i) {
    kvm::VcpuState vcpu;
    vcpu.regs.rip = 0x100000;
    vcpu.xsave.resize(kXsaveBytes);
    vcpu.xcrs.nr_xcrs = 1;
    for (const uint32_t index : {0x10u, 0x174u, 0xc0000080u}) {
      kvm_msr_entry msr{};
      msr.index = index;
      msr.data = index;
      vcpu.msrs.push_back(msr);
    }
    vcpu.tsc_khz = 2'000'000;
    machine.vcpus.push_back(std::move(vcpu));
  }
  return machine;
}

snapshot::StateFile State(uint32_t vcpus) {
  snapshot::StateFile state;
  state.machine.memory_bytes = 128_MiB;
  state.machine.vcpus = vcpus;
  return state;
}

snapshot::MemoryRun Run(uint32_t first_page, uint32_t pages, snapshot::PageSource source, uint32_t source_page) {
  snapshot::MemoryRun run;
  run.first_page = first_page;
  run.pages = pages;
  run.checksum = first_page;
  run.source = source;
  run.source_page = source_page;
  return run;
}

void AddStates(Seeds& seeds) {
  using snapshot::PageSource;
  snapshot::StateFile state = State(1);
  seeds.Add("state_reader", "empty", EncodeState(state));
  state.memory.runs = {Run(0, 1, PageSource::kStored, 0), Run(1, snapshot::kMaxRunPages, PageSource::kKernel, 7),
                       Run(32767, 1, PageSource::kStored, 0)};
  seeds.Add("state_reader", "runs", EncodeState(state));
  state.sections = {{snapshot::kFirstVmmSection, BytesOf("one")}, {snapshot::kFirstVmmSection + 1, {}}};
  seeds.Add("state_reader", "sections", EncodeState(state));
}

void AddManifests(Seeds& seeds) {
  snapshot::Manifest manifest;
  manifest.key.runtime = "python3";
  manifest.key.memory_mib = 128;
  manifest.key.vcpus = 1;
  manifest.sources = {snapshot::IdentityHash("k"), snapshot::IdentityHash("i"), snapshot::IdentityHash("r")};
  manifest.created_unix_ms = 1'700'000'000'000;
  manifest.state_bytes = 9000;
  manifest.state_checksum = 1;
  manifest.memory_bytes = 128_MiB;
  manifest.stored_bytes = 4096;
  seeds.Add("manifest_reader", "usual", BytesOf(EncodeManifest(manifest)));
}

// As CheckMachine in vmm_sections.cc takes them apart.
Bytes AsOneInput(uint8_t head, const std::vector<snapshot::Section>& sections) {
  Bytes bytes = {head};
  for (const auto& section : sections) bytes.insert(bytes.end(), section.bytes.begin(), section.bytes.end());
  return bytes;
}

void AddSections(Seeds& seeds) {
  constexpr uint8_t kNothingMissing = 0xfe;
  for (const uint32_t vcpus : {1u, 2u}) {
    const auto sections = vmm::ToSections(Machine(vcpus));
    const auto head = static_cast<uint8_t>(kNothingMissing + vcpus - 1);
    seeds.Add("vmm_sections", fmt::format("machine_{}", vcpus), AsOneInput(head, sections));
  }
  for (const auto& section : vmm::ToSections(Machine(1))) {
    seeds.Add("vmm_sections", fmt::format("section_{}", section.id), section.bytes);
  }
}

void AddMessages(Seeds& seeds) {
  wire::BootCommand boot;
  boot.cmdline = "console=ttyS0 quiet";
  boot.identity = {"vm-1", "host-1"};
  seeds.Add("messages", "boot", wire::EncodeCommand(std::move(boot)).bytes);
  wire::RestoreCommand restore;
  restore.identity = {"vm-1", "host-1"};
  seeds.Add("messages", "restore", wire::EncodeCommand(std::move(restore)).bytes);
  wire::MarkEvent mark;
  mark.at_ns = 1'000'000'000;
  wire::EndedEvent ended;
  ended.detail = std::string(300, 'd');
  wire::FailedEvent failed;
  failed.error = {ErrorCode::kCorrupt, 5, "it is damaged"};
  const std::pair<const char*, wire::Event> events[] = {
      {"shell_ready", wire::ShellReadyEvent{}},       {"mark", mark},   {"restored", wire::RestoredEvent{}},
      {"snapshot_taken", wire::SnapshotTakenEvent{}}, {"ended", ended}, {"failed", failed},
  };
  for (const auto& [name, event] : events) seeds.Add("messages", name, wire::EncodeEvent(event).bytes);
}

void AddFrames(Seeds& seeds) {
  const std::string two = wire::EncodeFrame("context", R"({"requestId":"1"})") + wire::EncodeFrame("event", "{}");
  seeds.Add("frames", "whole", BytesOf(std::string(1, '\0') + two));
  seeds.Add("frames", "pieces", BytesOf("\x03\x01\x05\x14" + two));
  seeds.Add("frames", "largest", BytesOf("\x01\xff" + wire::EncodeFrame("result", std::string(1000, 'x'))));
}

}  // namespace
}  // namespace snapfaas

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  snapfaas::Seeds seeds(argv[1]);
  snapfaas::AddStates(seeds);
  snapfaas::AddManifests(seeds);
  snapfaas::AddSections(seeds);
  snapfaas::AddMessages(seeds);
  snapfaas::AddFrames(seeds);
  if (seeds.bad()) std::fprintf(stderr, "fuzz_seeds: not all seeds were written to %s\n", argv[1]);
  return seeds.bad() ? 1 : 0;
}
