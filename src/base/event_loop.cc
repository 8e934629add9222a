#include "base/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>

namespace snapfaas {
namespace {

constexpr uint64_t kWakeId = 0;

epoll_event MakeEvent(uint32_t events, uint64_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return event;
}

}  // namespace

EventLoop::Watch::Watch(Watch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)),
      fd_(std::exchange(other.fd_, -1)),
      id_(std::exchange(other.id_, 0)),
      events_(std::exchange(other.events_, 0)) {}

EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    Reset();
    loop_ = std::exchange(other.loop_, nullptr);
    fd_ = std::exchange(other.fd_, -1);
    id_ = std::exchange(other.id_, 0);
    events_ = std::exchange(other.events_, 0);
  }
  return *this;
}

Status EventLoop::Watch::SetEvents(uint32_t events) {
  if (loop_ == nullptr || events == events_) return {};
  // Out of the set entirely for 0: epoll would still report a hang-up, for ever.
  const int operation = events == 0 ? EPOLL_CTL_DEL : events_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  epoll_event event = MakeEvent(events, id_);
  if (::epoll_ctl(loop_->epoll_.get(), operation, fd_, &event) != 0) {
    return FailErrno(errno, "watching descriptor {}", fd_);
  }
  events_ = events;
  return {};
}

void EventLoop::Watch::Reset() {
  if (loop_ == nullptr) return;
  // Fails only where the descriptor has been closed against the rules; epoll has then dropped it by itself.
  (void)SetEvents(0);
  {
    const std::lock_guard lock(loop_->mutex_);
    loop_->callbacks_.erase(id_);
  }
  loop_ = nullptr;
}

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return FailErrno(errno, "making an epoll descriptor");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return FailErrno(errno, "making an eventfd");
  epoll_event event = MakeEvent(EPOLLIN, kWakeId);
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return FailErrno(errno, "watching an eventfd");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Result<EventLoop::Watch> EventLoop::Add(int fd, uint32_t events, Callback callback) {
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_id_++;
    callbacks_.emplace(id, std::make_shared<Callback>(std::move(callback)));
  }
  Watch watch(this, fd, id);
  auto set = watch.SetEvents(events);
  if (!set) return Forward(set.error());
  return watch;
}

void EventLoop::Post(std::function<void()> function) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(function));
  }
  Wake();
}

void EventLoop::Stop() {
  stop_ = true;
  Wake();
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // Cannot fail but when the counter is full, and then the loop is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

void EventLoop::RunPosted() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (auto& function : posted) function();
}

void EventLoop::Dispatch(uint64_t id, uint32_t events) {
  std::shared_ptr<Callback> callback;
  {
    const std::lock_guard lock(mutex_);
    const auto found = callbacks_.find(id);
    if (found == callbacks_.end()) return;
    callback = found->second;
  }
  (*callback)(events);
}

Status EventLoop::Run() {
  std::array<epoll_event, 32> ready;
  while (!stop_) {
    const int count = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), -1);
    if (count < 0 && errno != EINTR) return FailErrno(errno, "waiting for events");
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = ready[static_cast<size_t>(i)];
      if (event.data.u64 == kWakeId) {
        RunPosted();
      } else {
        Dispatch(event.data.u64, event.events);
      }
    }
  }
  RunPosted();
  stop_ = false;
  return {};
}

}  // namespace snapfaas
