// How long restores of a base snapshot take: measured when it is taken, kept beside the runtime for `runtime ls`.
//
//   <data>/runtimes/<name>/restores-<memory>mib-<vcpus>vcpu.json
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/runtime_access.h"
#include "faas/spawner.h"
#include "snapshot/manifest.h"

namespace snapfaas::cli {

struct RestoreTiming {
  uint64_t snapshot = 0;         // its state's checksum: what was measured
  std::string accelerator;       // "kvm" or "emulated-host"
  std::vector<double> ready_ms;  // from launch to the function's file system mounted; not empty

  double MedianMs() const;
};

std::string EncodeRestoreTiming(const RestoreTiming& timing);
// Nothing where it is not what EncodeRestoreTiming makes.
std::optional<RestoreTiming> DecodeRestoreTiming(std::string_view text);

// Nothing where this snapshot was not measured.
std::optional<RestoreTiming> FindRestoreTiming(const std::filesystem::path& data_dir,
                                               const snapshot::Manifest& manifest);

// A few restores of an empty function in primed shells, unless this snapshot was measured already.
Result<RestoreTiming> TimeRestoresWhereNeeded(const Context& context, faas::Spawner& spawner,
                                              const OpenedRuntime& runtime, const faas::VmSize& size,
                                              const snapshot::Manifest& manifest);

}  // namespace snapfaas::cli
