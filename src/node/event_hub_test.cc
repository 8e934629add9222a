#include "node/event_hub.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"

namespace snapfaas::node {
namespace {

TEST(EventHub, TellsAllWhoListen) {
  EventHub hub;
  std::vector<std::string> first;
  std::vector<std::string> second;
  const auto one = hub.Subscribe([&](const NodeEvent& event) { first.push_back(event.kind + event.json); });
  const auto two = hub.Subscribe([&](const NodeEvent& event) { second.push_back(event.kind); });
  hub.Publish("deployed", [] { return nlohmann::json{{"function", "f"}}; });
  EXPECT_EQ(first, std::vector<std::string>{R"(deployed{"function":"f"})"});
  EXPECT_EQ(second, std::vector<std::string>{"deployed"});
}

TEST(EventHub, IsSilentAfterTheSubscription) {
  EventHub hub;
  int heard = 0;
  auto subscription = hub.Subscribe([&](const NodeEvent&) { ++heard; });
  hub.Publish("a", [] { return nlohmann::json::object(); });
  subscription.reset();
  hub.Publish("b", [] { return nlohmann::json::object(); });
  EXPECT_EQ(heard, 1);
}

TEST(EventHub, ParticularsAreNotMadeForNobody) {
  EventHub hub;
  bool made = false;
  hub.Publish("a", [&] {
    made = true;
    return nlohmann::json::object();
  });
  EXPECT_FALSE(made);
}

}  // namespace
}  // namespace snapfaas::node
