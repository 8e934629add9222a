#include "host/qemu_monitor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/scratch_folder_for_tests.h"
#include "base/unique_fd.h"
#include "host/qemu_command.h"

namespace snapfaas::host {
namespace {

// Plays QEMU's side: says its lines, one before anything is asked and then one for each line that it reads.
class FakeMonitor {
 public:
  FakeMonitor() { std::filesystem::create_directory(folder_); }
  FakeMonitor(const FakeMonitor&) = delete;
  FakeMonitor& operator=(const FakeMonitor&) = delete;
  ~FakeMonitor() {
    if (thread_.joinable()) thread_.join();
  }

  void Serve(std::vector<std::string> lines) {
    const UniqueFd at(::open(folder_.c_str(), O_PATH | O_DIRECTORY));
    const std::string path = "/proc/self/fd/" + std::to_string(at.get()) + "/" + kMonitorSocket;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, lines = std::move(lines)] { Say(lines); });
  }

  // What was asked. REQUIRES: the conversation is over.
  std::string Heard() {
    thread_.join();
    return heard_;
  }

  const std::filesystem::path& folder() const { return folder_; }

 private:
  void Say(const std::vector<std::string>& lines) {
    const UniqueFd client(::accept(listener_.get(), nullptr, nullptr));
    for (size_t i = 0; i < lines.size(); ++i) {
      if (i > 0 && !HearLine(client.get())) return;
      if (::send(client.get(), lines[i].data(), lines[i].size(), MSG_NOSIGNAL) < 0) return;
    }
  }

  bool HearLine(int fd) {
    char letter = 0;
    while (letter != '\n') {
      if (::read(fd, &letter, 1) != 1) return false;
      heard_ += letter;
    }
    return true;
  }

  const ScratchFolder scratch_;
  // Longer than a socket's path may be.
  const std::filesystem::path folder_ = scratch_.path() / std::string(120, 'f');
  UniqueFd listener_;
  std::thread thread_;
  std::string heard_;
};

const char kGreeting[] = "{\"QMP\": {\"version\": {}}}\r\n";
const char kDone[] = "{\"return\": {}}\r\n";

TEST(QemuMonitor, PassesTheCommandAndReturnsWhatItPrints) {
  FakeMonitor monitor;
  monitor.Serve({kGreeting, kDone, "{\"event\": \"RESUME\"}\r\n{\"return\": \"no such device\\r\\n\"}\r\n"});
  auto said = RunMonitorCommand(monitor.folder(), "info \"x\"");
  ASSERT_TRUE(said) << said.error().Message();
  EXPECT_EQ(*said, "no such device");
  const std::string heard = monitor.Heard();
  EXPECT_NE(heard.find("qmp_capabilities"), std::string::npos);
  EXPECT_NE(heard.find(R"("command-line":"info \"x\"")"), std::string::npos) << heard;
}

TEST(QemuMonitor, RefusalIsAnError) {
  FakeMonitor monitor;
  monitor.Serve({kGreeting, kDone, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n"});
  auto said = RunMonitorCommand(monitor.folder(), "x");
  ASSERT_FALSE(said);
  EXPECT_NE(said.error().Message().find("GenericError"), std::string::npos);
}

TEST(QemuMonitor, GarbageAndAnEarlyEndAreErrors) {
  for (const std::vector<std::string>& lines : {std::vector<std::string>{"hello\n"}, {kGreeting}, {kGreeting, kDone}}) {
    FakeMonitor monitor;
    monitor.Serve(lines);
    EXPECT_FALSE(RunMonitorCommand(monitor.folder(), "x"));
  }
}

TEST(QemuMonitor, WithoutQemuThereIsNoMonitor) {
  FakeMonitor monitor;
  auto said = RunMonitorCommand(monitor.folder(), "x");
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace snapfaas::host
