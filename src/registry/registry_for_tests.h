// A registry in a folder of its own.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "base/scratch_folder_for_tests.h"
#include "registry/code_store.h"
#include "registry/registry.h"

namespace snapfaas::registry {

inline const Code kCode{std::string(64, 'a'), 1000};
inline const Code kOtherCode{std::string(64, 'b'), 1000};

class RegistryFixture : public ::testing::Test {
 protected:
  void SetUp() override { Open(folder_.path() / "0"); }
  void TearDown() override { Close(); }

  Registry& registry() { return *registry_; }
  const std::filesystem::path& folder() const { return folder_.path(); }
  std::filesystem::path file() const { return current_ / "registry.db"; }

  void Close() { registry_.reset(); }

  // Goes on with what would be there had the process been killed now: the database was not closed.
  void CrashAndOpen() {
    const auto left = current_;
    const auto next = folder_.path() / std::to_string(++crashes_);
    std::filesystem::copy(left, next);
    Open(next);
  }

  FunctionVersion Create(const std::string& name) {
    FunctionConfig config;
    config.runtime = "python3.12";
    config.handler = "app.handler";
    auto made = registry().CreateFunction(name, config, kCode, {}, Publish::kNo);
    EXPECT_TRUE(made);
    return *made;
  }

  FunctionVersion Deploy(const std::string& name) {
    const auto made = Create(name);
    EXPECT_TRUE(registry().FinishDeployment(name, kLatest, made.deployment, "image"));
    return *registry().GetFunction(name, "");
  }

  void Update(const std::string& name, const Code& code) {
    const auto updated = registry().UpdateCode(name, {code, {}, Publish::kNo}, "");
    ASSERT_TRUE(updated);
    ASSERT_TRUE(registry().FinishDeployment(name, kLatest, updated->deployment, "image"));
  }

 private:
  void Open(const std::filesystem::path& place) {
    std::filesystem::create_directories(place);
    auto opened = Registry::Open(place / "registry.db");
    ASSERT_TRUE(opened) << opened.error().Message();
    registry_ = *std::move(opened);
    current_ = place;
  }

  ScratchFolder folder_;
  std::filesystem::path current_;
  int crashes_ = 0;
  std::unique_ptr<Registry> registry_;
};

}  // namespace snapfaas::registry
