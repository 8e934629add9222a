// Real registry, code store and images; what makes the microVMs is played.
#include "node/deployment_service.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "node/node_parts_for_tests.h"

namespace snapfaas::node {
namespace {

using registry::State;
using registry::UpdateStatus;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const registry::Runtimes kRuntimes;

std::string ZipOf(const std::string& name, const std::string& content) {
  std::string bytes(64 * 1024, '\0');
  size_t used = 0;
  const std::unique_ptr<archive, int (*)(archive*)> out(::archive_write_new(), &::archive_write_free);
  ::archive_write_set_format_zip(out.get());
  ::archive_write_open_memory(out.get(), bytes.data(), bytes.size(), &used);
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), &::archive_entry_free);
  ::archive_entry_set_pathname(entry.get(), name.c_str());
  ::archive_entry_set_filetype(entry.get(), AE_IFREG);
  ::archive_entry_set_perm(entry.get(), 0644);
  ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
  ::archive_write_header(out.get(), entry.get());
  ::archive_write_data(out.get(), content.data(), content.size());
  ::archive_write_close(out.get());
  bytes.resize(used);
  return bytes;
}

class FakePreparer : public FunctionPreparer {
 public:
  Status Prepare(const PreparedFunction& function) override {
    const std::lock_guard lock(mutex_);
    if (failure) return Forward(*failure);
    prepared_.insert(function.key);
    last_ = function;
    return {};
  }
  Status TakeFunctionSnapshot(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    snapshots_.insert(key);
    changed_.notify_all();
    return {};
  }
  bool HasFunctionSnapshot(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    return snapshots_.contains(key);
  }
  void Forget(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    prepared_.erase(key);
  }

  std::set<std::string> prepared() {
    const std::lock_guard lock(mutex_);
    return prepared_;
  }
  PreparedFunction last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  void WaitForSnapshot(const std::string& key) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return snapshots_.contains(key); });
  }

  std::optional<Error> failure;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> prepared_;
  std::set<std::string> snapshots_;
  PreparedFunction last_;
};

class DeploymentServiceTest : public RegistryTest {
 protected:
  DeploymentServiceTest() {
    code_ = std::move(registry::CodeStore::Open(files_, folder() / "code", *registry_).value());
    deployer_.emplace(std::move(Deployer::Open(folder()).value()));
    StartService();
  }
  ~DeploymentServiceTest() override { service_.reset(); }

  void StartService() {
    service_.emplace(DeploymentService::Parts{*registry_, *code_, *deployer_, preparer_, hub_,
                                              [](const std::string& name) -> Result<images::RuntimeImages> {
                                                if (name != "python3")
                                                  return Fail(ErrorCode::kNotFound, "{} is not built", name);
                                                images::RuntimeImages images;
                                                images.recipe.name = name;
                                                return images;
                                              },
                                              [this](const std::string& key) { retired_.push_back(key); },
                                              [](const faas::VmSize&) { return std::make_shared<int>(); },
                                              [](const std::string&) {}},
                     DeploymentService::Options());
  }

  void Create(const std::string& name, const std::string& zip, const registry::FunctionConfig& config = SomeConfig()) {
    auto stored = code_->Put(zip);
    ASSERT_TRUE(stored);
    ASSERT_TRUE(registry_->CreateFunction(name, config, stored->code(), {}, registry::Publish::kNo));
    service_->Start(name, "$LATEST");
  }

  registry::FunctionVersion Settled(const std::string& name) {
    // What is posted later runs later.
    std::promise<void> done;
    service_->Recover([&done] { done.set_value(); });
    done.get_future().wait();
    return registry_->GetFunction(name, "").value();
  }

  PosixFileSystem files_;
  std::unique_ptr<registry::CodeStore> code_;
  std::optional<Deployer> deployer_;
  FakePreparer preparer_;
  EventHub hub_;
  std::vector<std::string> retired_;  // the deploying thread's
  std::optional<DeploymentService> service_;
};

TEST_F(DeploymentServiceTest, FunctionBecomesActiveWithItsImage) {
  auto config = SomeConfig();
  config.memory_mib = 300;
  Create("f", ZipOf("app.py", "def handler(e, c): pass\n"), config);
  const auto version = Settled("f");
  EXPECT_EQ(version.state, State::kActive);
  ASSERT_TRUE(version.deployed);
  EXPECT_TRUE(std::filesystem::exists(folder() / "images" / (version.deployed->image + ".erofs")));
  EXPECT_EQ(preparer_.last().runtime, "python3");
  EXPECT_EQ(preparer_.last().size.memory_mib, 384U);
  EXPECT_FALSE(preparer_.last().use_function_snapshot);
  EXPECT_EQ(preparer_.prepared(), std::set{SpecOf(version, *version.deployed, std::nullopt, 1, kRuntimes).key});
}

TEST_F(DeploymentServiceTest, SnapStartGetsTheFunctionASnapshot) {
  auto config = SomeConfig();
  config.snap_start = registry::SnapStart::kPublishedVersions;
  Create("f", ZipOf("app.py", "x"), config);
  const auto version = Settled("f");
  preparer_.WaitForSnapshot(SpecOf(version, *version.deployed, std::nullopt, 1, kRuntimes).key);
  EXPECT_TRUE(service_->HasSnapshot(version));
}

TEST_F(DeploymentServiceTest, BrokenZipFailsTheDeployment) {
  Create("f", "this is no zip");
  const auto version = Settled("f");
  EXPECT_EQ(version.state, State::kFailed);
  EXPECT_EQ(version.state_reason_code, "InvalidZipFileException");
  EXPECT_THAT(preparer_.prepared(), IsEmpty());
}

TEST_F(DeploymentServiceTest, MissingRuntimeIsNamed) {
  auto config = SomeConfig();
  config.runtime = "ruby";
  Create("f", ZipOf("app.rb", "x"), config);
  const auto version = Settled("f");
  EXPECT_EQ(version.state_reason_code, "InvalidRuntime");
  EXPECT_THAT(version.state_reason, HasSubstr("ruby is not built"));
  EXPECT_FALSE(service_->HasRuntime("ruby"));
  EXPECT_TRUE(service_->HasRuntime("python3"));
}

TEST_F(DeploymentServiceTest, FailedUpdateLeavesTheOldOneServed) {
  Create("f", ZipOf("app.py", "x"));
  const auto before = Settled("f");
  preparer_.failure = Error{ErrorCode::kResourceExhausted, 0, "no memory"};
  ASSERT_TRUE(registry_->UpdateConfig(
      "f", [](auto& config) { config.timeout_s = 9; }, ""));
  service_->Start("f", "$LATEST");
  const auto after = Settled("f");
  EXPECT_EQ(after.state, State::kActive);
  EXPECT_EQ(after.update_status, UpdateStatus::kFailed);
  EXPECT_THAT(after.update_reason, HasSubstr("no memory"));
  EXPECT_EQ(after.deployed->image, before.deployed->image);
  EXPECT_EQ(after.deployed->config.timeout_s, before.deployed->config.timeout_s);
  EXPECT_THAT(retired_, IsEmpty());
}

TEST_F(DeploymentServiceTest, ReplacedOneIsRetired) {
  Create("f", ZipOf("app.py", "x"));
  const auto before = Settled("f");
  const std::string old_key = SpecOf(before, *before.deployed, std::nullopt, 1, kRuntimes).key;
  ASSERT_TRUE(registry_->UpdateConfig(
      "f", [](auto& config) { config.handler = "app.other"; }, ""));
  service_->Start("f", "$LATEST");
  const auto after = Settled("f");
  EXPECT_THAT(retired_, ElementsAre(old_key));
  EXPECT_EQ(preparer_.prepared(), std::set{SpecOf(after, *after.deployed, std::nullopt, 1, kRuntimes).key});
  EXPECT_FALSE(std::filesystem::exists(folder() / "images" / (before.deployed->image + ".erofs")));
}

TEST_F(DeploymentServiceTest, RemovedOneIsForgotten) {
  Create("f", ZipOf("app.py", "x"));
  const auto version = Settled("f");
  const auto versions = registry_->DeleteFunction("f");
  ASSERT_TRUE(versions);
  service_->Removed("f", *versions);
  Create("g", ZipOf("app.py", "x"));
  Settled("g");
  EXPECT_THAT(retired_, ElementsAre(SpecOf(version, *version.deployed, std::nullopt, 1, kRuntimes).key));
  EXPECT_FALSE(preparer_.prepared().contains(retired_[0]));
}

TEST_F(DeploymentServiceTest, ANewStartServesWhatIsDeployedAndGoesOnWithTheRest) {
  Create("f", ZipOf("app.py", "x"));
  const auto version = Settled("f");
  service_->Stop();
  auto stored = code_->Put(ZipOf("app.py", "y"));
  ASSERT_TRUE(registry_->CreateFunction("g", SomeConfig(), stored->code(), {}, registry::Publish::kNo));
  preparer_.Forget(SpecOf(version, *version.deployed, std::nullopt, 1, kRuntimes).key);
  service_.reset();
  StartService();
  Settled("f");  // what was under way is begun when this one is
  Settled("f");
  EXPECT_EQ(Settled("g").state, State::kActive);
  EXPECT_EQ(preparer_.prepared().size(), 2U);
}

}  // namespace
}  // namespace snapfaas::node
