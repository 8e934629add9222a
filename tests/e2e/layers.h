// Layers: one test function in both its layers, and every way to bring a microVM of it to life.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "e2e_environment.h"
#include "faas/launcher.h"
#include "faas/shell_pool.h"
#include "snapshot/store.h"

namespace snapfaas::e2e {

// What a microVM is restored from, and how: "mmap", "prefetch" or "primed", as cli::RestoreChoices names them.
struct Way {
  enum class Layer { kBase, kFunction };

  Layer layer = Layer::kFunction;
  std::string_view choice = "primed";
};
std::string Describe(const Way& way);
std::ostream& operator<<(std::ostream& out, const Way& way);

// Both layers, each by these choices.
std::vector<Way> WaysOf(const std::vector<std::string_view>& choices);

class Layers {
 public:
  // Takes the function's snapshot anew, over the base of this size, in a folder of its own.
  static Result<std::unique_ptr<Layers>> Take(const std::string& function, const faas::VmSize& size = faas::VmSize());

  // Serves `event` once from each layer and has later restores bring in the pages that this has touched.
  Status RecordWorkingSets(const std::string& event);

  // One that waits for requests.
  Result<faas::MicroVm> Restore(const Way& way);
  // One that has found the request waiting; only its answer is of interest.
  Result<faas::Response> RestoreAndInvoke(const Way& way, const std::string& event);

  // Ends the shells that wait for a next restore.
  Status EmptyPool();

 private:
  Layers(const std::string& function, const faas::VmSize& size, snapshot::LoadedSnapshot base);

  snapshot::LoadedSnapshot& Of(Way::Layer layer) { return layer == Way::Layer::kBase ? base_ : *function_snapshot_; }
  Status TakeFunctionSnapshot();
  Status RecordWorkingSet(Way::Layer layer, const std::string& event);
  Result<faas::Shell> StartShell(const Way& way, int64_t deadline_ns);
  Result<faas::MicroVm> Start(const Way& way, faas::RestoreImages& images, faas::FunctionFiles& files,
                              int64_t deadline_ns);

  Environment& environment_;
  const std::string function_;
  const faas::VmSize size_;
  ScratchFolder folder_;
  snapshot::LoadedSnapshot base_;
  std::optional<snapshot::LoadedSnapshot> function_snapshot_;
  std::unique_ptr<faas::ShellPool> pool_;
};

// A number from the environment, so that a run by hand may be longer.
int CountFrom(const char* variable, int otherwise);

}  // namespace snapfaas::e2e
