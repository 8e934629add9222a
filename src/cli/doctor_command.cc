#include "cli/doctor_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/units.h"
#include "host/kvm_probe.h"
#include "host/qemu_command.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;

enum class Need {
  kToRun,      // no function runs without it
  kEmulation,  // needed to run where KVM is not usable
  kToBuild,    // needed to build runtimes and apps
};

struct Finding {
  std::string name;
  bool good = false;
  Need need = Need::kToRun;
  std::string found;
  std::string mend;  // empty when good
};

struct Diagnosis {
  host::KvmProbe kvm;
  std::vector<Finding> findings;
  bool can_run = false;
};

bool IsInPath(std::string_view program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, end)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) return true;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return false;
}

Finding CheckProgram(std::string_view program, std::string_view package, Need need) {
  Finding finding{std::string(program), IsInPath(program), need, "installed", ""};
  if (!finding.good) {
    finding.found = "not found";
    finding.mend = fmt::format("sudo apt-get install {}", package);
  }
  return finding;
}

// The folder itself, or the nearest one above it that exists.
fs::path NearestExisting(fs::path folder) {
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

Finding CheckDataFolder(const fs::path& data_dir) {
  const fs::path existing = NearestExisting(data_dir);
  std::error_code ignored;
  Finding finding{"data folder", false, Need::kToRun, data_dir.string(), ""};
  finding.good = fs::is_directory(existing, ignored) && ::access(existing.c_str(), W_OK | X_OK) == 0;
  if (!finding.good) {
    finding.mend =
        fmt::format("{} is not writable: choose another place with --data or SNAPFAAS_DATA", existing.string());
  }
  return finding;
}

Finding CheckDiskSpace(const fs::path& data_dir) {
  constexpr uint64_t kNeeded = 3_GiB;  // kernels, a runtime, its snapshots
  std::error_code failure;
  const auto space = fs::space(NearestExisting(data_dir), failure);
  Finding finding{"disk space", !failure && space.available >= kNeeded, Need::kToRun, "", ""};
  finding.found = failure ? failure.message() : fmt::format("{} MiB free", space.available / 1_MiB);
  if (!finding.good) finding.mend = fmt::format("{} MiB are needed in the data folder: free some", kNeeded / 1_MiB);
  return finding;
}

Finding CheckMemory() {
  constexpr uint64_t kNeededMib = 1024;
  const uint64_t available = host::AvailableMemoryMib();
  Finding finding{"memory", available >= kNeededMib, Need::kToRun, fmt::format("{} MiB available", available), ""};
  if (!finding.good) finding.mend = fmt::format("{} MiB are needed: end other programs", kNeededMib);
  return finding;
}

Finding CheckBesides(const Context& context, std::string_view program, Need need) {
  const fs::path path = context.bin_dir / program;
  Finding finding{std::string(program), ::access(path.c_str(), X_OK) == 0, need, path.string(), ""};
  if (!finding.good) finding.mend = fmt::format("{} is missing: build it with ./dev build", path.string());
  return finding;
}

Diagnosis Diagnose(const Context& context) {
  Diagnosis diagnosis;
  diagnosis.kvm = host::ProbeKvm();
  diagnosis.findings = {CheckBesides(context, "snapfaas-vmm", Need::kToRun),
                        CheckBesides(context, "snapfaas-hostd", Need::kEmulation),
                        CheckDataFolder(context.data_dir),
                        CheckDiskSpace(context.data_dir),
                        CheckMemory(),
                        CheckProgram(host::kQemuProgram, "qemu-system-x86", Need::kEmulation),
                        CheckProgram("mmdebstrap", "mmdebstrap", Need::kToBuild),
                        CheckProgram("mkfs.erofs", "erofs-utils", Need::kToBuild),
                        CheckProgram("apt-get", "apt", Need::kToBuild),
                        CheckProgram("dpkg-deb", "dpkg", Need::kToBuild)};
  const bool kvm_usable = host::KvmUsable(diagnosis.kvm);
  diagnosis.can_run = std::all_of(diagnosis.findings.begin(), diagnosis.findings.end(), [&](const Finding& finding) {
    const bool needed = finding.need == Need::kToRun || (finding.need == Need::kEmulation && !kvm_usable);
    return finding.good || !needed;
  });
  return diagnosis;
}

std::string_view Accelerator(const Diagnosis& diagnosis) {
  if (!diagnosis.can_run) return "none";
  return host::KvmUsable(diagnosis.kvm) ? "kvm" : "emulated-host";
}

std::string_view NeedName(Need need) {
  switch (need) {
    case Need::kToRun:
      return "run";
    case Need::kEmulation:
      return "emulated-host";
    case Need::kToBuild:
      return "build";
  }
  return "unknown";
}

void PrintDiagnosisJson(const Diagnosis& diagnosis) {
  const auto& kvm = diagnosis.kvm;
  nlohmann::json json{{"can_run", diagnosis.can_run}, {"accelerator", Accelerator(diagnosis)}};
  json["kvm"] = {{"state", host::KvmStateName(kvm.state)},
                 {"usable", host::KvmUsable(kvm)},
                 {"vendor", host::CpuVendorName(kvm.vendor)},
                 {"virtualization", kvm.virtualization},
                 {"hypervisor", kvm.hypervisor},
                 {"emulated_host", kvm.emulated_host},
                 {"loop_ms", kvm.loop_ms},
                 {"detail", kvm.detail},
                 {"mend", host::Mend(kvm)}};
  json["checks"] = nlohmann::json::array();
  for (const auto& finding : diagnosis.findings) {
    json["checks"].push_back({{"name", finding.name},
                              {"ok", finding.good},
                              {"needed_for", NeedName(finding.need)},
                              {"found", finding.found},
                              {"mend", finding.mend}});
  }
  // Paths may hold any bytes.
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void PrintLine(bool good, std::string_view name, std::string_view found, std::string_view mend) {
  fmt::print("{:<4} {:<20} {}\n", good ? "ok" : "--", name, found);
  if (!mend.empty()) fmt::print("     {:<20} mend: {}\n", "", mend);
}

void PrintDiagnosisText(const Diagnosis& diagnosis) {
  const auto& kvm = diagnosis.kvm;
  fmt::print("{:<4} {:<20} {}{}{}\n", "", "CPU", host::CpuVendorName(kvm.vendor),
             kvm.hypervisor ? ", a virtual machine" : "", kvm.emulated_host ? " (the emulated host)" : "");
  PrintLine(host::KvmUsable(kvm), "KVM", host::Describe(kvm), host::Mend(kvm));
  for (const auto& finding : diagnosis.findings) PrintLine(finding.good, finding.name, finding.found, finding.mend);
  if (!diagnosis.can_run) {
    fmt::print("\nFunctions cannot run here yet: see what to mend.\n");
  } else if (host::KvmUsable(kvm)) {
    fmt::print("\nFunctions can run here, on KVM.\n");
  } else {
    fmt::print("\nFunctions can run here, in the emulated host (slower); it is started when needed.\n");
  }
}

}  // namespace

void AddDoctorCommand(CLI::App& app, std::function<Result<Context>()> context, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  auto* doctor = app.add_subcommand("doctor", "Say what this machine can do and what to mend");
  doctor->add_flag("--json", *json, "Print JSON");
  doctor->callback([json, context = std::move(context), &exit_code] {
    const auto made = context();
    if (!made) {
      exit_code = ReportFailure(made.error());
      return;
    }
    const auto diagnosis = Diagnose(*made);
    *json ? PrintDiagnosisJson(diagnosis) : PrintDiagnosisText(diagnosis);
    exit_code = diagnosis.can_run ? kExitOk : kExitFailure;
  });
}

}  // namespace snapfaas::cli
