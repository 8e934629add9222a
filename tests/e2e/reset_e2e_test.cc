// A microVM that was reset: nothing of its life before, and otherwise as a fresh one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "base/json.h"
#include "e2e_environment.h"
#include "layers.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;

constexpr int kResets = 10;
constexpr int kBallastKib = 20 * 1024;

std::string Reversed(std::string text) {
  std::reverse(text.begin(), text.end());
  return text;
}

json LookFor(const std::string& secret) { return {{"look_for_reversed", Reversed(secret)}}; }

class ResetTest : public EndToEndTest, public ::testing::WithParamInterface<Way> {
 protected:
  void NoteIdentity(const json& answer) {
    for (const auto& [field, value] : answer["identity"].items()) {
      EXPECT_TRUE(seen_[field].insert(value.dump()).second) << "the same " << field << " as before: " << value;
    }
  }

 private:
  std::map<std::string, std::set<std::string>> seen_;
};

TEST_P(ResetTest, NothingIsLeftAndEveryLifeIsAFreshOne) {
  auto layers = Layers::Take("keeps_secret");
  ASSERT_TRUE(layers) << layers.error().Message();
  auto vm = (*layers)->Restore(GetParam());
  ASSERT_TRUE(vm) << vm.error().Message();
  const std::string secret = "the secret of this microVM";
  json look_and_leave = LookFor(secret);
  look_and_leave["leave"] = secret;
  json look_leave_and_fill = look_and_leave;
  // Only once: it is what takes the time.
  look_leave_and_fill["fill"] = secret;
  const auto fresh = Ask(*vm, look_leave_and_fill);
  ASSERT_TRUE(fresh.is_object() && fresh.contains("found")) << fresh;
  NoteIdentity(fresh);
  const auto left = Ask(*vm, LookFor(secret));
  ASSERT_TRUE(left.is_object() && left.contains("found")) << left;
  for (const auto& [place, found] : left["found"].items()) EXPECT_EQ(found, true) << "it is not seen: " << place;
  EXPECT_GT(left["resident_kib"], fresh["resident_kib"].get<int>() + kBallastKib / 2);
  for (int i = 0; i < kResets; ++i) {
    SCOPED_TRACE(fmt::format("reset {}", i));
    const auto reset = vm->Reset(UniqueFd(), cli::DeadlineIn(60));
    ASSERT_TRUE(reset) << reset.error().Message();
    const auto after = Ask(*vm, look_and_leave);
    ASSERT_TRUE(after.is_object() && after.contains("found")) << after;
    for (const auto& [place, found] : after["found"].items()) EXPECT_EQ(found, false) << "it is left: " << place;
    EXPECT_EQ(after["state"], fresh["state"]);
    EXPECT_LT(after["resident_kib"], fresh["resident_kib"].get<int>() + kBallastKib / 2);
    NoteIdentity(after);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, ResetTest,
                         ::testing::Values(Way{Way::Layer::kBase, "prefetch"}, Way{Way::Layer::kFunction, "primed"}),
                         [](const auto& way) {
                           std::string name = Describe(way.param);
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace snapfaas::e2e
