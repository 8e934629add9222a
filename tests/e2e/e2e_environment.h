// What the end-to-end tests share: the built runtime, its base snapshot, images of the test functions, and a way to run
// the snapfaas command.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/scratch_folder_for_tests.h"
#include "cli/context.h"
#include "cli/runtime_access.h"
#include "faas/launcher.h"
#include "faas/process_spawner.h"
#include "snapshot/store.h"

namespace snapfaas::e2e {

class Environment {
 public:
  // The one of this process. Aborts the test run with a message when the runtime is not built.
  static Environment& Get();

  const cli::Context& context() const { return context_; }
  const cli::OpenedRuntime& runtime() const { return runtime_; }
  faas::Spawner& spawner() { return *spawner_; }
  // Of 128 MiB and 1 vCPU; taken at the first call where it is missing.
  const snapshot::LoadedSnapshot& snapshot();
  // In memory, for all microVMs to share.
  const snapshot::InMemoryImage& runtimefs();
  // Descriptors for one more microVM of that snapshot.
  Result<faas::RestoreImages> OpenImages(wire::RestoreMode mode);
  // The image of tests/e2e/functions/<name>, as a new descriptor.
  UniqueFd Appfs(const std::string& name);

 private:
  Environment() = default;

  cli::Context context_;
  cli::OpenedRuntime runtime_;
  std::unique_ptr<faas::ProcessSpawner> spawner_;
  std::optional<snapshot::InMemoryImage> runtimefs_;
  std::optional<snapshot::LoadedSnapshot> snapshot_;
  std::map<std::string, UniqueFd> appfs_;
};

// The base of all tests here: at the end of each no child process and no temporary file of ours is left.
class EndToEndTest : public ::testing::Test {
 protected:
  void TearDown() override;

  Environment& environment_ = Environment::Get();
};

// Restores this microVM with one of the test functions.
Status RestoreInto(faas::MicroVm& vm, const std::string& function, wire::RestoreMode mode, int64_t deadline_ns);

// A microVM restored with one of the test functions.
Result<faas::MicroVm> RestoreWith(const std::string& function, wire::RestoreMode mode = wire::RestoreMode::kMmap,
                                  double timeout_seconds = 60);

// The answer to one event, parsed; null and a failed test when there was none.
nlohmann::json Ask(faas::MicroVm& vm, const nlohmann::json& event);

struct CommandResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs the snapfaas that stands beside this program.
CommandResult RunSnapfaas(const std::vector<std::string>& arguments, const std::string& input = "");

// The pids of our children that are VMMs.
std::vector<pid_t> VmmChildren();

std::filesystem::path Function(const std::string& name);

// Empty where there is none.
std::string ReadFile(const std::filesystem::path& path);

// A memfd with these bytes, read from the start.
UniqueFd FileWith(const std::string& bytes);

}  // namespace snapfaas::e2e
