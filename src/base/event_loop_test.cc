#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <thread>

namespace snapfaas {
namespace {

std::pair<UniqueFd, UniqueFd> Sockets() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TEST(EventLoopTest, RunsACallbackWhenItsDescriptorIsReady) {
  auto loop = EventLoop::Create().value();
  auto [near, far] = Sockets();
  char got = 0;
  auto watch = loop->Add(near.get(), EPOLLIN, [&, fd = near.get()](uint32_t events) {
    EXPECT_NE(events & EPOLLIN, 0u);
    EXPECT_EQ(::read(fd, &got, 1), 1);
    loop->Stop();
  });
  ASSERT_TRUE(watch);
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(got, 'x');
}

TEST(EventLoopTest, AWatchThatWaitsForNothingDoesNotReportAHangUp) {
  auto loop = EventLoop::Create().value();
  auto [near, far] = Sockets();
  int calls = 0;
  auto watch = loop->Add(near.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  ASSERT_TRUE(watch);
  ASSERT_TRUE(watch->SetEvents(0));
  far.Reset();
  loop->Post([&] { loop->Stop(); });
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(calls, 0);
  ASSERT_TRUE(watch->SetEvents(EPOLLIN));
  loop->Post([&] { loop->Post([&] { loop->Stop(); }); });
  ASSERT_TRUE(loop->Run());
  EXPECT_GT(calls, 0);
}

TEST(EventLoopTest, AnEndedWatchIsNotCalled) {
  auto loop = EventLoop::Create().value();
  auto [near, far] = Sockets();
  int calls = 0;
  {
    auto watch = loop->Add(near.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  }
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  loop->Post([&] { loop->Stop(); });
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(calls, 0);
}

TEST(EventLoopTest, ACallbackMayEndItsOwnWatch) {
  auto loop = EventLoop::Create().value();
  auto [near, far] = Sockets();
  EventLoop::Watch watch;
  int calls = 0;
  auto added = loop->Add(near.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    watch.Reset();
    loop->Post([&] { loop->Stop(); });
  });
  ASSERT_TRUE(added);
  watch = std::move(*added);
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  ASSERT_TRUE(loop->Run());
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(watch.active());
}

TEST(EventLoopTest, StopsWhenStoppedBefore) {
  auto loop = EventLoop::Create().value();
  bool ran = false;
  loop->Post([&] { ran = true; });
  loop->Stop();
  ASSERT_TRUE(loop->Run());
  EXPECT_TRUE(ran);
}

TEST(EventLoopTest, RunsWhatOtherThreadsPostInOrderAndAgainAfterAStop) {
  auto loop = EventLoop::Create().value();
  for (int round = 0; round < 2; ++round) {
    std::thread::id loop_thread;
    std::vector<int> order;
    std::thread runner([&] {
      loop_thread = std::this_thread::get_id();
      EXPECT_TRUE(loop->Run());
    });
    for (int i = 0; i < 100; ++i) {
      loop->Post([&, i] {
        EXPECT_EQ(std::this_thread::get_id(), loop_thread);
        order.push_back(i);
      });
    }
    loop->Stop();
    runner.join();
    ASSERT_EQ(order.size(), 100u);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST(EventLoopTest, RefusesAClosedDescriptor) {
  auto loop = EventLoop::Create().value();
  EXPECT_FALSE(loop->Add(-1, EPOLLIN, [](uint32_t) {}));
}

}  // namespace
}  // namespace snapfaas
