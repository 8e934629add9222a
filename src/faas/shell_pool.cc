#include "faas/shell_pool.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>

#include "base/clock.h"

namespace snapfaas::faas {
namespace {

constexpr int64_t kRefillPatience = 30'000'000'000;

tl::unexpected<Error> Stopped() { return Fail(ErrorCode::kUnavailable, "the pool of VMMs is stopped"); }

}  // namespace

void ShellPool::Pause::End() {
  if (pool_ == nullptr) return;
  {
    const std::lock_guard lock(pool_->mutex_);
    --pool_->pauses_;
    // Under the lock: once it is free, the pool may be gone.
    pool_->changed_.notify_all();
  }
  pool_ = nullptr;
}

Result<std::unique_ptr<ShellPool>> ShellPool::Create(Spawner& spawner, const Limits& limits, PrimeImages prime_images) {
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return FailErrno(errno, "making an eventfd");
  return std::unique_ptr<ShellPool>(new ShellPool(spawner, limits, std::move(prime_images), std::move(stop)));
}

ShellPool::ShellPool(Spawner& spawner, const Limits& limits, PrimeImages prime_images, UniqueFd stop)
    : spawner_(spawner),
      limits_(limits),
      prime_images_(std::move(prime_images)),
      stop_(std::move(stop)),
      thread_([this] { Work(); }) {}

Status ShellPool::Reserve(const ShellKind& kind, size_t count) {
  auto valid = CheckVmSize(kind.size);
  if (!valid) return valid;
  const std::lock_guard lock(mutex_);
  if (stopped_) return Stopped();
  Use(kind).wanted = count;
  changed_.notify_all();
  return {};
}

Result<ShellPool::Taken> ShellPool::Take(const ShellKind& kind, int64_t deadline_ns) {
  auto valid = CheckVmSize(kind.size);
  if (!valid) return Forward(valid.error());
  Pause pause = PauseRefill();
  std::unique_lock lock(mutex_);
  if (stopped_) return Stopped();
  Kept& kept = Use(kind);
  for (bool is_first = true;; is_first = false) {
    if (auto ready = TakeReady(kept)) return Taken{std::move(pause), std::move(*ready)};
    if (is_first) ++counts_.missing;
    if (!kept.starting || kept.awaited) break;
    kept.awaited = true;
    const bool in_time =
        changed_.wait_until(lock, TimePoint(deadline_ns), [this, &kept] { return stopped_ || !kept.starting; });
    kept.awaited = false;
    if (stopped_) return Stopped();
    if (!in_time) return Fail(ErrorCode::kTimedOut, "the VMM was not set up in time");
  }
  auto started = StartForTaker(kept, deadline_ns, lock);
  if (!started) return Forward(started.error());
  return Taken{std::move(pause), std::move(*started)};
}

Status ShellPool::WaitFull(const ShellKind& kind, int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [&kind](const Kept& k) { return k.kind == kind; });
  if (kept == kept_.end()) {
    return Fail(ErrorCode::kInvalidArgument, "no VMMs of {} MiB and {} vCPU are kept", kind.size.memory_mib,
                kind.size.vcpus);
  }
  const auto full = [this, kept] { return kept->ready.size() >= ShareOf(*kept); };
  const bool in_time = changed_.wait_until(lock, TimePoint(deadline_ns), [this, kept, &full] {
    return stopped_ || (!working_ && !MayWork() && (full() || kept->failure));
  });
  if (stopped_) return Stopped();
  if (!in_time) return Fail(ErrorCode::kTimedOut, "the VMMs kept ready were not set up in time");
  if (!full()) return Forward(*kept->failure);
  return {};
}

ShellPool::Pause ShellPool::PauseRefill() {
  const std::lock_guard lock(mutex_);
  ++pauses_;
  pauses_end_ns_ = MonotonicNanos() + std::chrono::nanoseconds(limits_.longest_pause).count();
  return Pause(*this);
}

ShellPool::Counts ShellPool::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void ShellPool::Stop() {
  std::call_once(stopping_, [this] {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      (void)::eventfd_write(stop_.get(), 1);
      changed_.notify_all();
    }
    thread_.join();
    std::vector<Shell> left;  // outlives the lock: ending a process takes a while
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return starting_takers_ == 0; });
    left = std::move(dead_);
    for (auto& kept : kept_) std::move(kept.ready.begin(), kept.ready.end(), std::back_inserter(left));
    for (auto& kept : kept_) kept.ready.clear();
  });
}

// The pool's thread.
void ShellPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    // It looks by itself now and then, too: for a Take to wake it would cost the request that waits for the microVM.
    while (!stopped_ && !MayWork()) changed_.wait_for(lock, limits_.longest_pause);
    if (stopped_) return;
    working_ = true;
    // First, so that there is room for what is started.
    if (auto excess = RemoveExcess(); !excess.empty()) {
      lock.unlock();
      excess.clear();
      lock.lock();
    } else if (Kept* missing = FindMissing()) {
      StartMissing(*missing, lock);
    }
    working_ = false;
    changed_.notify_all();
  }
}

bool ShellPool::IsPaused() const { return pauses_ > 0 && MonotonicNanos() < pauses_end_ns_; }

bool ShellPool::MayWork() const {
  if (IsPaused()) return false;
  return !dead_.empty() || std::any_of(kept_.begin(), kept_.end(), [this](const Kept& kept) {
    const size_t share = ShareOf(kept);
    return kept.ready.size() > share || (kept.ready.size() < share && !kept.failure);
  });
}

void ShellPool::StartMissing(Kept& kept, std::unique_lock<std::mutex>& lock) {
  kept.starting = true;
  lock.unlock();
  const int64_t began_ns = MonotonicNanos();
  auto started = StartAndPrime(kept.kind);
  const int64_t took_ns = MonotonicNanos() - began_ns;
  lock.lock();
  kept.starting = false;
  if (started) {
    ++counts_.started;
    counts_.starting_ns += took_ns;
    kept.ready.push_back(std::move(*started));
  } else {
    kept.failure = started.error();
  }
}

Result<Shell> ShellPool::StartAndPrime(const ShellKind& kind) const {
  const int64_t deadline_ns = MonotonicNanos() + kRefillPatience;
  auto shell = Shell::Start(spawner_, kind.size, deadline_ns, stop_.get());
  if (!shell || kind.base.empty() || !prime_images_) return shell;
  auto images = prime_images_(kind);
  if (!images) return Forward(images.error());
  auto primed = shell->Prime(kind.base, std::move(*images), deadline_ns, stop_.get());
  if (!primed) return Forward(primed.error());
  return shell;
}

std::vector<Shell> ShellPool::RemoveExcess() {
  std::vector<Shell> excess = std::exchange(dead_, {});
  for (auto& kept : kept_) {
    const size_t share = ShareOf(kept);
    while (kept.ready.size() > share) {
      excess.push_back(std::move(kept.ready.back()));
      kept.ready.pop_back();
    }
  }
  return excess;
}

ShellPool::Kept* ShellPool::FindMissing() {
  const auto missing = std::find_if(kept_.begin(), kept_.end(), [this](const Kept& kept) {
    return kept.ready.size() < ShareOf(kept) && !kept.failure;
  });
  return missing == kept_.end() ? nullptr : &*missing;
}

// How many may wait: the kinds used later are served first.
size_t ShellPool::ShareOf(const Kept& kept) const {
  size_t left = limits_.max_shells;
  for (const auto& one : kept_) {
    const size_t share = std::min(one.wanted, left);
    if (&one == &kept) return share;
    left -= share;
  }
  return 0;
}

// Somebody asks for this kind.
ShellPool::Kept& ShellPool::Use(const ShellKind& kind) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&kind](const Kept& kept) { return kept.kind == kind; });
  if (found == kept_.end()) {
    kept_.emplace_front(kind, limits_.shells_per_kind);
  } else {
    kept_.splice(kept_.begin(), kept_, found);
  }
  kept_.front().failure.reset();
  return kept_.front();
}

std::optional<Shell> ShellPool::TakeReady(Kept& kept) {
  while (!kept.ready.empty()) {
    Shell shell = std::move(kept.ready.back());
    kept.ready.pop_back();
    if (shell.Waits()) return shell;
    dead_.push_back(std::move(shell));
  }
  return std::nullopt;
}

Result<Shell> ShellPool::StartForTaker(Kept& kept, int64_t deadline_ns, std::unique_lock<std::mutex>& lock) {
  ++starting_takers_;
  lock.unlock();
  auto started = Shell::Start(spawner_, kept.kind.size, deadline_ns, stop_.get());
  lock.lock();
  --starting_takers_;
  changed_.notify_all();
  if (started) {
    kept.failure.reset();
    return started;
  }
  if (stopped_) return Stopped();
  // An impatient taker says nothing about the kind.
  if (started.error().code != ErrorCode::kTimedOut) kept.failure = started.error();
  return started;
}

}  // namespace snapfaas::faas
