// EventLoop: one thread that waits for descriptors with epoll(7) and runs a callback when one is ready.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas {

class EventLoop {
 public:
  // Gets the EPOLL* bits that were ready. A callback may come although its descriptor has nothing to say (the events
  // were changed meanwhile), so it must not block.
  using Callback = std::function<void(uint32_t events)>;

  // Keeps a descriptor watched for as long as it lives. It does not own the descriptor and must go before it is
  // closed. Destroy it on the loop's thread or while the loop does not run: then its callback is never called again.
  // REQUIRES: the loop outlives it.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { Reset(); }

    // What to wait for from now on; 0 waits for nothing at all, not even a hang-up. From any thread, but only one at a
    // time for one watch.
    Status SetEvents(uint32_t events);
    uint32_t events() const { return events_; }
    bool active() const { return loop_ != nullptr; }
    void Reset();

   private:
    friend class EventLoop;
    Watch(EventLoop* loop, int fd, uint64_t id) : loop_(loop), fd_(fd), id_(id) {}

    EventLoop* loop_ = nullptr;
    int fd_ = -1;
    uint64_t id_ = 0;
    uint32_t events_ = 0;
  };

  static Result<std::unique_ptr<EventLoop>> Create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop() = default;

  // Calls `callback` on the loop's thread whenever one of `events` (EPOLLIN, EPOLLOUT; level-triggered) holds for
  // `fd`. From any thread.
  Result<Watch> Add(int fd, uint32_t events, Callback callback);

  // Runs `function` once on the loop's thread, soon. From any thread.
  void Post(std::function<void()> function);

  // Serves on the calling thread until Stop() is called, also when it was called before. May be called again later.
  // An error is a failure of epoll itself.
  Status Run();

  // Makes Run() return after the callbacks at hand and what was posted before. From any thread.
  void Stop();

 private:
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void Wake();
  void RunPosted();
  void Dispatch(uint64_t id, uint32_t events);

  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd behind Post and Stop
  std::atomic<bool> stop_ = false;

  std::mutex mutex_;  // guards what follows
  uint64_t next_id_ = 1;
  // Shared, so that a callback may destroy its own watch while it runs.
  std::unordered_map<uint64_t, std::shared_ptr<Callback>> callbacks_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace snapfaas
