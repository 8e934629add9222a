// EndableSpawner: a Spawner whose VMMs can all be ended at once, whoever waits for them: they then see their microVM
// end.
#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "base/result.h"
#include "faas/spawner.h"

namespace snapfaas::node {

class EndableSpawner : public faas::Spawner {
 public:
  // REQUIRES: `inner` outlives this, and this its processes.
  explicit EndableSpawner(faas::Spawner& inner) : inner_(inner) {}

  // kUnavailable after EndAll.
  Result<std::unique_ptr<faas::VmmProcess>> Spawn(const faas::VmSize& size) override;

  // From any thread.
  void EndAll();

 private:
  class Process;

  faas::Spawner& inner_;
  std::mutex mutex_;  // guards what follows
  std::set<Process*> processes_;
  bool has_ended_ = false;
};

}  // namespace snapfaas::node
