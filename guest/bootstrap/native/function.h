// The function: a process of its own, started from the program `bootstrap` in the function's folder.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snapfaas::guest::native {

// How a deployed function is to be run (docs/guest_contract.md, "Functions"); what a mere folder leaves open has values
// that Lambda's clients for the Runtime API can live with.
struct Configuration {
  std::string handler = "bootstrap";
  std::string name = "function";
  std::string version = "$LATEST";
  std::string memory_size = "128";
  std::string region = "us-east-1";
  std::vector<std::string> environment;  // "NAME=value"
  bool deployed = false;
};

struct LoadError {
  std::string type;
  std::string message;
};

// Reads `folder`/.snapfaas/function.json, if there is one.
std::optional<LoadError> ReadConfiguration(const std::string& folder, Configuration& configuration);

class FunctionProcess {
 public:
  FunctionProcess() = default;
  FunctionProcess(const FunctionProcess&) = delete;
  FunctionProcess& operator=(const FunctionProcess&) = delete;
  ~FunctionProcess() = default;

  // `api` is where it finds the Runtime API, "127.0.0.1:9001".
  std::optional<LoadError> Start(const std::string& folder, const Configuration& configuration, const std::string& api,
                                 bool for_snapshot);

  // Readable in poll(2) when the function has ended; -1 before the start.
  int pidfd() const { return pidfd_; }

  // Around a snapshot of the running function. One snapshot gives many microVMs, and each has a log stream of its own:
  // its name stands in the environment that the function was started with, and is written over there. Where the
  // function has put it elsewhere nothing happens.
  void PrepareSnapshot();
  void TakeIdentity() const;

  // The function has ended: so does this process, in the same way, for the agent tells the host how.
  [[noreturn]] void EndLikeIt() const;

 private:
  void FindLogStreamName();

  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::string log_stream_;
  std::string version_;
  uintptr_t log_stream_address_ = 0;
};

}  // namespace snapfaas::guest::native
