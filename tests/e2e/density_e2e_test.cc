// What one more microVM takes of the host's memory.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "e2e_environment.h"
#include "layers.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;

constexpr int kMicroVms = 10;
// By prefetching, with the VMM's own memory.
constexpr double kMaxPrefetchedMib = 4;

// The proportional set size: what is shared counts for each of its users in part.
uint64_t PssKib(const std::vector<faas::MicroVm>& vms) {
  uint64_t sum = 0;
  for (const auto& vm : vms) {
    std::ifstream file(fmt::format("/proc/{}/smaps_rollup", vm.pid()));
    uint64_t kib = 0;
    std::string word;
    while (kib == 0 && file >> word) {
      if (word == "Pss:") file >> kib;
    }
    EXPECT_GT(kib, 0u) << "no Pss of process " << vm.pid();
    sum += kib;
  }
  return sum;
}

class DensityTest : public EndToEndTest {
 protected:
  // Restores microVMs until there are `count`; each answers one request.
  static void Fill(Layers& layers, const Way& way, std::vector<faas::MicroVm>& vms, size_t count) {
    while (vms.size() < count) {
      auto vm = layers.Restore(way);
      ASSERT_TRUE(vm) << "microVM " << vms.size() << ": " << vm.error().Message();
      const auto answer = Ask(*vm, {{"id", vms.size()}});
      ASSERT_TRUE(answer.is_object() && answer.contains("calls")) << answer;
      EXPECT_EQ(answer["id"], vms.size());
      EXPECT_EQ(answer["calls"], 1);
      vms.push_back(std::move(*vm));
    }
    // A shell in waiting would take its part of what is shared.
    const auto emptied = layers.EmptyPool();
    ASSERT_TRUE(emptied) << emptied.error().Message();
  }

  static void Measure(Layers& layers, const Way& way, size_t half, double& one_more_mib) {
    std::vector<faas::MicroVm> vms;
    ASSERT_NO_FATAL_FAILURE(Fill(layers, way, vms, half));
    const uint64_t of_half = PssKib(vms);
    ASSERT_NO_FATAL_FAILURE(Fill(layers, way, vms, 2 * half));
    const uint64_t of_all = PssKib(vms);
    // What is shared is in both once.
    ASSERT_GT(of_all, of_half);
    one_more_mib = static_cast<double>(of_all - of_half) / static_cast<double>(half) / 1024;
    fmt::print("{}: one more microVM takes {:.2f} MiB; {} together {:.1f} MiB\n", Describe(way), one_more_mib,
               vms.size(), static_cast<double>(of_all) / 1024);
  }
};

TEST_F(DensityTest, OneMoreMicroVmTakesLittleOfItsOwn) {
  auto layers = Layers::Take("counter");
  ASSERT_TRUE(layers) << layers.error().Message();
  const auto recorded = (*layers)->RecordWorkingSets(R"({"id":0})");
  ASSERT_TRUE(recorded) << recorded.error().Message();
  const auto half = static_cast<size_t>(CountFrom("SNAPFAAS_E2E_DENSITY", kMicroVms) + 1) / 2;
  for (const Way& way : WaysOf({"mmap", "prefetch", "primed"})) {
    SCOPED_TRACE(Describe(way));
    double one_more_mib = 0;
    ASSERT_NO_FATAL_FAILURE(Measure(**layers, way, half, one_more_mib));
    std::string property = Describe(way) + " MiB";
    std::replace(property.begin(), property.end(), ' ', '_');
    RecordProperty(property, fmt::format("{:.2f}", one_more_mib));
    if (way.choice == "prefetch") {
      EXPECT_LE(one_more_mib, kMaxPrefetchedMib);
    }
  }
}

}  // namespace
}  // namespace snapfaas::e2e
