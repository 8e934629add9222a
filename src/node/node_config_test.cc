#include "node/node_config.h"

#include <gtest/gtest.h>

namespace snapfaas::node {
namespace {

std::string ErrorOf(std::string_view toml) {
  auto config = ParseNodeConfig(toml, "node.toml");
  return config ? "none" : config.error().Message();
}

TEST(NodeConfig, EmptyFileGivesTheDefaults) {
  auto config = ParseNodeConfig("", "node.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(*config, NodeConfig());
}

TEST(NodeConfig, WhatIsPrintedIsReadBack) {
  NodeConfig config;
  config.port = 9'000;
  config.address = "::1";
  config.access_key_id = "quo\"ted\\";
  config.secret_access_key = "s";
  config.spares = true;
  config.function_snapshots = false;
  config.budget_mib = 2'048;
  auto read = ParseNodeConfig(PrintNodeConfig(config), "node.toml");
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_EQ(*read, config);
}

TEST(NodeConfig, EverySettingSurvivesAloneToo) {
  auto config = ParseNodeConfig("[microvms]\nidle_seconds = 5\n", "node.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->idle_seconds, 5U);
  EXPECT_EQ(config->port, NodeConfig().port);
}

TEST(NodeConfig, LaunchesGoByTheCpusUnlessTheyAreSet) {
  NodeConfig config;
  EXPECT_EQ(config.LaunchesAtATime(16), 32u);
  EXPECT_EQ(config.LaunchesAtATime(0), 2u) << "nobody knows how many there are";
  config.launches = 5;
  EXPECT_EQ(config.LaunchesAtATime(16), 5u);
}

TEST(NodeConfig, MistakesNameTheLineAndTheMend) {
  EXPECT_EQ(ErrorOf("[gateway]\nport = 70000"), "node.toml:2: gateway.port must be a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf("[gateway]\nport = \"80\""), "node.toml:2: gateway.port must be a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf("[gateway]\n\naddress = 1"), "node.toml:3: gateway.address must be a text");
  EXPECT_EQ(ErrorOf("[microvms]\nspares = 1"), "node.toml:2: microvms.spares must be true or false");
  EXPECT_EQ(ErrorOf("[gateway]\nprot = 1"),
            "node.toml:2: there is no setting gateway.prot; `snapfaas config` prints those there are");
  EXPECT_EQ(ErrorOf("port = 1"), "node.toml:1: port stands in no section");
  EXPECT_NE(ErrorOf("[gateway\n").find("node.toml:1: "), std::string::npos);
}

TEST(NodeConfig, HalfOfTheCredentialsIsNone) {
  EXPECT_EQ(ErrorOf("[gateway]\naccess_key_id = \"a\""),
            "node.toml: gateway.access_key_id and gateway.secret_access_key go together");
}

TEST(NodeConfig, OnlyWithCredentialsMayOthersReachIt) {
  NodeConfig config;
  for (const char* address : {"127.0.0.1", "127.3.2.1", "::1"}) EXPECT_TRUE(CheckReach(config, address)) << address;
  for (const char* address : {"0.0.0.0", "192.168.1.2", "::", "localhost", ""}) {
    EXPECT_FALSE(CheckReach(config, address)) << address;
  }
  config.access_key_id = config.secret_access_key = "x";
  EXPECT_TRUE(CheckReach(config, "0.0.0.0"));
  EXPECT_FALSE(CheckReach(config, "somewhere"));
}

TEST(NodeConfig, MissingFileIsNamed) {
  auto config = LoadNodeConfig("/nonexistent/node.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kNotFound);
  EXPECT_NE(config.error().Message().find("/nonexistent/node.toml"), std::string::npos);
}

}  // namespace
}  // namespace snapfaas::node
