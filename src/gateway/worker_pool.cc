#include "gateway/worker_pool.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

namespace snapfaas::gateway {

struct WorkerPool::Impl {
  Impl(unsigned threads, size_t most) : max_unfinished(most + threads), pool(threads) {}

  const size_t max_unfinished;
  std::atomic<size_t> unfinished = 0;
  std::atomic<bool> stopped = false;
  boost::asio::thread_pool pool;
};

WorkerPool::WorkerPool(unsigned threads, size_t max_waiting) : impl_(std::make_unique<Impl>(threads, max_waiting)) {}

WorkerPool::~WorkerPool() { Stop(); }

bool WorkerPool::Post(std::function<void()> work) {
  if (impl_->unfinished.fetch_add(1) >= impl_->max_unfinished || impl_->stopped) {
    --impl_->unfinished;
    return false;
  }
  boost::asio::post(impl_->pool, [impl = impl_.get(), work = std::move(work)]() mutable {
    work();
    work = nullptr;
    --impl->unfinished;
  });
  return true;
}

void WorkerPool::Stop() {
  impl_->stopped = true;
  impl_->pool.join();
}

}  // namespace snapfaas::gateway
