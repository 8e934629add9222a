#include "node/endable_spawner.h"

#include <sys/socket.h>

#include <string>
#include <utility>

namespace snapfaas::node {

class EndableSpawner::Process : public faas::VmmProcess {
 public:
  Process(EndableSpawner& owner, std::unique_ptr<faas::VmmProcess> inner) : owner_(owner), inner_(std::move(inner)) {
    const std::lock_guard lock(owner_.mutex_);
    owner_.processes_.insert(this);
    if (owner_.has_ended_) End();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() override {
    const std::lock_guard lock(owner_.mutex_);
    owner_.processes_.erase(this);
  }

  // The VMM ends when its socket does, and whoever waits for it sees the same.
  void End() { (void)::shutdown(inner_->control(), SHUT_RDWR); }

  int control() const override { return inner_->control(); }
  pid_t pid() const override { return inner_->pid(); }
  std::string DescribeEnd() override { return inner_->DescribeEnd(); }

 private:
  EndableSpawner& owner_;
  std::unique_ptr<faas::VmmProcess> inner_;
};

Result<std::unique_ptr<faas::VmmProcess>> EndableSpawner::Spawn(const faas::VmSize& size) {
  {
    const std::lock_guard lock(mutex_);
    if (has_ended_) return Fail(ErrorCode::kUnavailable, "no microVM is started any more: the node is about to stop");
  }
  auto process = inner_.Spawn(size);
  if (!process) return process;
  return std::unique_ptr<faas::VmmProcess>(std::make_unique<Process>(*this, std::move(*process)));
}

void EndableSpawner::EndAll() {
  const std::lock_guard lock(mutex_);
  has_ended_ = true;
  for (Process* process : processes_) process->End();
}

}  // namespace snapfaas::node
