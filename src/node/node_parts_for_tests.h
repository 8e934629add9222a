// What the tests of the node's parts share: a registry in a folder of its own, and an Invoker that answers as told.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/scratch_folder_for_tests.h"
#include "node/invoker.h"
#include "registry/registry.h"

namespace snapfaas::node {

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    auto registry = registry::Registry::Open(folder() / "registry.db");
    EXPECT_TRUE(registry) << registry.error().Message();
    registry_ = std::move(*registry);
  }
  const std::filesystem::path& folder() const { return scratch_.path(); }

  static registry::FunctionConfig SomeConfig() {
    registry::FunctionConfig config;
    config.runtime = "python3";
    config.handler = "app.handler";
    return config;
  }

  // As a deployment does; the new version's name.
  std::string Deploy(const std::string& function, const registry::FunctionConfig& config = SomeConfig()) {
    auto created = registry_->CreateFunction(function, config, {std::string(64, 'a'), 10}, {}, registry::Publish::kNo);
    EXPECT_TRUE(created) << created.error().Message();
    Finish(function, "$LATEST", "image1");
    return "$LATEST";
  }

  void Finish(const std::string& function, const std::string& version, const std::string& image) {
    auto pending = registry_->GetFunction(function, version);
    ASSERT_TRUE(pending);
    auto finished = registry_->FinishDeployment(function, version, pending->deployment, image);
    ASSERT_TRUE(finished) << finished.error().Message();
  }

  ScratchFolder scratch_;
  std::unique_ptr<registry::Registry> registry_;
};

// Keeps what it was asked, and answers from the thread that asks.
class ScriptedInvoker : public Invoker {
 public:
  std::function<InvocationAnswer(const Invocation& invocation)> script = [](const Invocation&) {
    InvocationAnswer answer;
    answer.payload = "{}";
    answer.executed_version = "$LATEST";
    return answer;
  };

  Ticket Invoke(Invocation invocation, std::function<void(InvocationAnswer)> done) override {
    InvocationAnswer answer = script(invocation);
    {
      const std::lock_guard lock(mutex_);
      invocations_.push_back(std::move(invocation));
    }
    done(std::move(answer));
    changed_.notify_all();
    return 0;
  }
  void Cancel(Ticket) override {}
  InvocationCheck Check(const std::string&, const std::string&) override { return {}; }

  std::vector<Invocation> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return invocations_.size() >= count; });
    return invocations_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Invocation> invocations_;
};

}  // namespace snapfaas::node
