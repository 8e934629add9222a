// What no two microVMs of one snapshot may share, and what time each of them has.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "e2e_environment.h"
#include "layers.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;

constexpr int kUsualRestores = 100;
constexpr int kBaseRestores = 5;
constexpr int kTimerRestores = 10;
constexpr double kMaxClockErrorSeconds = 0.05;
constexpr int64_t kNapsNanos = 50'000'000;
constexpr int64_t kMaxNapsNanos = 5'000'000'000;

double RealtimeSeconds() { return static_cast<double>(RealtimeNanos()) / 1e9; }

class IdentityTest : public EndToEndTest {
 protected:
  // Restores one microVM more, and takes note of what it is.
  void NoteOneMore(Layers& layers, const Way& way) {
    auto vm = layers.Restore(way);
    ASSERT_TRUE(vm) << vm.error().Message();
    const double before = RealtimeSeconds();
    const auto answer = Ask(*vm, json::object());
    const double after = RealtimeSeconds();
    ASSERT_TRUE(answer.is_object() && answer.contains("time")) << answer;
    const double time = answer["time"].get<double>();
    EXPECT_GE(time, before - kMaxClockErrorSeconds) << "the guest's clock is slow";
    EXPECT_LE(time, after + kMaxClockErrorSeconds) << "the guest's clock is fast";
    for (const char* field : {"urandom", "random", "uuid", "boot_id", "hostname"}) {
      ASSERT_TRUE(answer.contains(field)) << answer;
      EXPECT_TRUE(seen_[field].insert(answer[field].dump()).second)
          << "two microVMs have the same " << field << ": " << answer[field];
    }
  }

  std::map<std::string, std::set<std::string>> seen_;
};

TEST_F(IdentityTest, NoTwoRestoresShareAnythingAndAllHaveTheRightTime) {
  auto layers = Layers::Take("identity");
  ASSERT_TRUE(layers) << layers.error().Message();
  const int restores = CountFrom("SNAPFAAS_E2E_RESTORES", kUsualRestores);
  for (int i = 0; i < restores; ++i) {
    SCOPED_TRACE(fmt::format("restore {} of the function", i));
    ASSERT_NO_FATAL_FAILURE(NoteOneMore(**layers, {Way::Layer::kFunction, "primed"}));
  }
  for (int i = 0; i < kBaseRestores; ++i) {
    SCOPED_TRACE(fmt::format("restore {} of the base", i));
    ASSERT_NO_FATAL_FAILURE(NoteOneMore(**layers, {Way::Layer::kBase, "primed"}));
  }
  EXPECT_EQ(seen_["urandom"].size(), static_cast<size_t>(restores + kBaseRestores));
}

class TimersTest : public EndToEndTest, public ::testing::WithParamInterface<uint32_t> {};

TEST_P(TimersTest, SleepsEndInTime) {
  auto layers = Layers::Take("naps", {.vcpus = GetParam()});
  ASSERT_TRUE(layers) << layers.error().Message();
  const int restores = CountFrom("SNAPFAAS_E2E_TIMER_RESTORES", kTimerRestores);
  for (int i = 0; i < restores; ++i) {
    SCOPED_TRACE(fmt::format("restore {}", i));
    const Way way{i % 2 == 0 ? Way::Layer::kFunction : Way::Layer::kBase, "primed"};
    const auto answer = (*layers)->RestoreAndInvoke(way, "{}");
    ASSERT_TRUE(answer) << answer.error().Message();
    const auto parsed = json::parse(answer->payload, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(parsed.is_object() && parsed.contains("elapsed_ns")) << answer->payload;
    EXPECT_GE(parsed["elapsed_ns"].get<int64_t>(), kNapsNanos);
    EXPECT_LT(parsed["elapsed_ns"].get<int64_t>(), kMaxNapsNanos);
  }
}

INSTANTIATE_TEST_SUITE_P(Vcpus, TimersTest, ::testing::Values(1u, 2u, 4u),
                         [](const auto& vcpus) { return std::to_string(vcpus.param); });

}  // namespace
}  // namespace snapfaas::e2e
