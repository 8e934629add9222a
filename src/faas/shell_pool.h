// ShellPool: shells started beforehand, so that nothing slow lies between a request and the first guest instruction.
//
//       Reserve, or Take of a new kind
//                     │
//                     v       a start fails
//      ┌─────────> missing ──────────────────> failed
//      │             │  ^                        │
//      │      refill │  └──Reserve, Take─────────┘
//      │             v
//      └────dies── ready ──Take──> the taker's, with a Pause
//                    └───other kinds need the room──> ended
//
// The pool keeps some ready shells of each kind in use. What is missing is started one after the other on the pool's
// own thread, which starts and ends shells only while no Pause lives. Take returns a Pause along with the shell; the
// taker drops it when its microVM is under way, so that the next shell does not compete with this microVM. A start
// that is under way when a Pause begins goes on, and a Pause that is held for longer than `longest_pause` counts no
// more: its microVM hangs, and the next one is not to wait for it.
//
// A kind whose shell could not be started or primed is left alone until somebody asks for it again. `max_shells` bounds
// what waits, all kinds together: kinds are served in the order of their last use, so the one unused for longest loses
// its shells first.
//
// Every function may be called from any thread. The pool must outlive its Pauses.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "faas/shell.h"
#include "faas/spawner.h"
#include "wire/messages.h"

namespace snapfaas::faas {

// What is kept apart: the size, and the base snapshot that the shells are primed with (LoadedSnapshot::base_id).
struct ShellKind {
  ShellKind(const VmSize& of_size) : size(of_size) {}  // NOLINT(google-explicit-constructor): not primed
  ShellKind(const VmSize& of_size, std::string with_base) : size(of_size), base(std::move(with_base)) {}

  VmSize size;
  std::string base;

  bool operator==(const ShellKind&) const = default;
};

class ShellPool {
 public:
  // Gives what a shell is to be primed with. Called on the pool's thread, for kinds with a base.
  using PrimeImages = std::function<Result<wire::PrimeCommand>(const ShellKind& kind)>;

  struct Limits {
    size_t shells_per_kind = 1;  // of a kind that was taken but not reserved
    size_t max_shells = 8;
    std::chrono::milliseconds longest_pause{2000};
  };

  class Pause {
   public:
    Pause(Pause&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
    Pause& operator=(Pause&& other) noexcept {
      if (this != &other) {
        End();
        pool_ = std::exchange(other.pool_, nullptr);
      }
      return *this;
    }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
    ~Pause() { End(); }

    void End();

   private:
    friend class ShellPool;
    explicit Pause(ShellPool& pool) : pool_(&pool) {}

    ShellPool* pool_;
  };

  struct Counts {
    uint64_t started = 0;     // beforehand, primed included
    int64_t starting_ns = 0;  // what these took, all together
    uint64_t missing = 0;     // Takes that found none ready
  };

  // The shell goes first.
  struct Taken {
    Pause pause;
    Shell shell;
  };

  // REQUIRES: the spawner outlives the pool.
  static Result<std::unique_ptr<ShellPool>> Create(Spawner& spawner, const Limits& limits,
                                                   PrimeImages prime_images = nullptr);

  ShellPool(const ShellPool&) = delete;
  ShellPool& operator=(const ShellPool&) = delete;
  ~ShellPool() { Stop(); }

  // Keeps `count` shells of this kind ready from now on.
  Status Reserve(const ShellKind& kind, size_t count);

  // A ready shell, at once. Where there is none, waits for the one that is being started or starts one, which is not
  // primed, as that takes longer than it saves once; then the error is as Shell::Start's.
  Result<Taken> Take(const ShellKind& kind, int64_t deadline_ns);

  // Waits until this kind has all its shells and the pool's thread is at rest. The error of a start that failed is as
  // Shell::Start's.
  Status WaitFull(const ShellKind& kind, int64_t deadline_ns);

  Pause PauseRefill();

  Counts counts();

  // Refuses all further work with kUnavailable, gives up what is being started, ends the shells that wait and returns
  // when the thread has ended. What was taken stays its taker's.
  void Stop();

 private:
  // A kind in use.
  struct Kept {
    Kept(ShellKind of_kind, size_t count) : kind(std::move(of_kind)), wanted(count) {}

    ShellKind kind;
    size_t wanted;
    std::vector<Shell> ready;
    bool starting = false;         // on the pool's thread
    bool awaited = false;          // by a taker, who gets that one
    std::optional<Error> failure;  // of the last start, until somebody asks again
  };

  ShellPool(Spawner& spawner, const Limits& limits, PrimeImages prime_images, UniqueFd stop);

  void Work();
  bool IsPaused() const;
  bool MayWork() const;
  void StartMissing(Kept& kept, std::unique_lock<std::mutex>& lock);
  std::vector<Shell> RemoveExcess();
  Kept* FindMissing();
  size_t ShareOf(const Kept& kept) const;
  Kept& Use(const ShellKind& kind);
  Result<Shell> StartAndPrime(const ShellKind& kind) const;
  std::optional<Shell> TakeReady(Kept& kept);
  Result<Shell> StartForTaker(Kept& kept, int64_t deadline_ns, std::unique_lock<std::mutex>& lock);

  Spawner& spawner_;
  const Limits limits_;
  const PrimeImages prime_images_;
  const UniqueFd stop_;  // eventfd, readable from Stop on
  std::once_flag stopping_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::list<Kept> kept_;     // the kind used last comes first; never shrinks, so that references stay good
  std::vector<Shell> dead_;  // found so by takers, who have no time to bury them
  Counts counts_;
  size_t pauses_ = 0;
  int64_t pauses_end_ns_ = 0;  // at the latest
  size_t starting_takers_ = 0;
  bool working_ = false;
  bool stopped_ = false;

  std::thread thread_;
};

}  // namespace snapfaas::faas
