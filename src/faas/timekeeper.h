// Timekeeper: the one clock and the one thread that the Controller and the Request Manager live on. The node's runs in
// real time (thread_timekeeper.h); a simulator's jumps from one event to the next, and so do the tests'.
#pragma once

#include <cstdint>
#include <functional>

namespace snapfaas::faas {

class Timekeeper {
 public:
  using TimerId = uint64_t;

  virtual ~Timekeeper() = default;

  // Monotonic.
  virtual int64_t NowNanos() const = 0;

  // Runs `function` on the thread, soon, after what was posted before. From any thread.
  virtual void Post(std::function<void()> function) = 0;

  // Runs `function` on the thread once, not before `at_ns`. On the thread only.
  virtual TimerId At(int64_t at_ns, std::function<void()> function) = 0;
  // Does nothing where it has run. On the thread only.
  virtual void Cancel(TimerId timer) = 0;
};

}  // namespace snapfaas::faas
