#include "host/qemu_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "host/machine_setup.h"

namespace snapfaas::host {
namespace {

using testing::Contains;
using testing::HasSubstr;

QemuOptions SomeOptions() { return {"/k/vmlinuz", "/i/initramfs", "/r/token", "/r/console.log", 2048, 40123}; }

std::string ValueAfter(const std::vector<std::string>& command, const std::string& option) {
  const auto found = std::find(command.begin(), command.end(), option);
  return found == command.end() || found + 1 == command.end() ? "" : *(found + 1);
}

TEST(QemuCommand, NamesWhatItWasGiven) {
  const auto command = QemuCommand(SomeOptions());
  EXPECT_EQ(command.front(), kQemuProgram);
  EXPECT_EQ(ValueAfter(command, "-kernel"), "/k/vmlinuz");
  EXPECT_EQ(ValueAfter(command, "-initrd"), "/i/initramfs");
  EXPECT_EQ(ValueAfter(command, "-m"), "2048");
  EXPECT_THAT(ValueAfter(command, "-fw_cfg"), HasSubstr("file=/r/token"));
}

TEST(QemuCommand, ForwardsOnlyALoopbackPort) {
  EXPECT_EQ(ValueAfter(QemuCommand(SomeOptions()), "-netdev"), "user,id=net,hostfwd=tcp:127.0.0.1:40123-:1024");
}

TEST(QemuCommand, HasAMonitorInItsFolder) {
  EXPECT_THAT(QemuCommand(SomeOptions()), Contains("socket,id=monitor,path=monitor.sock,server=on,wait=off"));
}

TEST(QemuCommand, HasOneCpuInOneThread) {
  const auto command = QemuCommand(SomeOptions());
  EXPECT_EQ(ValueAfter(command, "-accel"), "tcg,thread=single");
  EXPECT_EQ(ValueAfter(command, "-smp"), "1");
}

TEST(QemuCommand, CountsInstructionsWhereThatIsItsClock) {
  auto options = SomeOptions();
  EXPECT_EQ(ValueAfter(QemuCommand(options), "-icount"), "");
  options.clock = HostClock::kInstructions;
  EXPECT_EQ(ValueAfter(QemuCommand(options), "-icount"), "shift=3,sleep=on");
}

TEST(QemuCommand, SharesTheRootReadOnly) {
  EXPECT_THAT(QemuCommand(SomeOptions()),
              Contains("local,id=root,path=/,security_model=none,multidevs=remap,readonly=on"));
}

TEST(QemuCommand, DoublesCommasInPaths) {
  auto options = SomeOptions();
  options.console_log = "/a,b/console.log";
  EXPECT_THAT(QemuCommand(options), Contains("file,id=console,path=/a,,b/console.log"));
}

TEST(ChooseMemory, IsHalfWithinBounds) {
  EXPECT_EQ(ChooseMemoryMib(0), 1024u);
  EXPECT_EQ(ChooseMemoryMib(8000), 3968u);
  EXPECT_EQ(ChooseMemoryMib(64'000), 6144u);
}

TEST(SystemFolder, OwnAndSystemFoldersAreNotShared) {
  for (const char* folder : {"/", "/tmp", "/proc/self", "/usr/share", "/run", "/etc/", "/work/../usr"}) {
    EXPECT_TRUE(IsSystemFolder(folder)) << folder;
  }
  for (const char* folder : {"/tmp/build", "/home/me", "/root", "/usrlocal", "/work"}) {
    EXPECT_FALSE(IsSystemFolder(folder)) << folder;
  }
}

}  // namespace
}  // namespace snapfaas::host
