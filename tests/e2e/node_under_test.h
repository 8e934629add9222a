// NodeUnderTest: a real snapfaasd with a state folder of its own, and what tests ask of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/scratch_folder_for_tests.h"
#include "cli/node_client.h"

namespace snapfaas::e2e {

struct Invoked {
  int status = 0;  // 0: no answer
  std::string function_error;
  std::string start;  // X-SnapFaaS-Start
  nlohmann::json body;

  bool IsResult() const { return status == 200 && function_error.empty(); }
};

class NodeUnderTest {
 public:
  // `config`: TOML.
  explicit NodeUnderTest(const std::string& config = "");
  NodeUnderTest(const NodeUnderTest&) = delete;
  NodeUnderTest& operator=(const NodeUnderTest&) = delete;
  // Ends it and removes its folder.
  ~NodeUnderTest();

  // Starts it, on the port that it had before. A failed test where it does not answer soon.
  void Start();
  // SIGTERM; its exit code.
  int Stop();
  // SIGKILL, and waits until it is gone.
  void Kill();

  bool IsRunning() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  std::string url() const;
  const std::filesystem::path& state_dir() const { return folder_.path(); }
  std::string Log() const;

  // Of tests/e2e/functions/<source>; `options` as of `snapfaas deploy`.
  void Deploy(const std::string& name, const std::string& source, const std::vector<std::string>& options = {});
  Invoked Invoke(const std::string& name, const nlohmann::json& event, const std::string& type = "RequestResponse",
                 double timeout_seconds = 120) const;
  // A failed test and null where the node refuses.
  nlohmann::json Get(const std::string& target) const;
  Result<nlohmann::json> Call(const std::string& method, const std::string& target,
                              const nlohmann::json& body = {}) const;

  // VMMs that live, of this node or one before it.
  static std::vector<pid_t> Vmms();

 private:
  ScratchFolder folder_;
  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

// The body of a CreateFunction of tests/e2e/functions/<source>.
nlohmann::json DeploymentOf(const std::string& name, const std::string& source);

}  // namespace snapfaas::e2e
