// The results of snapfaas bench density as JSON and as a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "faas/spawner.h"

namespace snapfaas::cli {

// All VMMs together, in KiB.
struct DensityPoint {
  uint32_t microvms = 0;
  uint64_t proportional_kib = 0;  // PSS
  uint64_t private_kib = 0;       // mapped by one VMM alone
  uint64_t anonymous_kib = 0;
  uint64_t resident_kib = 0;
  uint64_t machine_kib = 0;  // less available than without them: with the kernel's and KVM's own
};

struct DensitySample {
  std::string mode;
  std::string layer;
  std::vector<DensityPoint> points;  // more and more microVMs; not empty
  bool is_full = false;              // the machine did not hold all that were asked for
};

struct DensityReport {
  nlohmann::ordered_json host;
  std::string accelerator;
  std::string commit;
  std::string runtime;
  faas::VmSize size;
  std::vector<DensitySample> samples;
};

nlohmann::ordered_json ToJson(const DensityReport& report);

// A row for each point, in MiB for one microVM; "one more" is what the last ones have added, each.
std::string DensityTable(const DensityReport& report);

}  // namespace snapfaas::cli
