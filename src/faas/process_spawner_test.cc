#include "faas/process_spawner.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/scratch_folder_for_tests.h"
#include "wire/messages.h"

namespace snapfaas::faas {
namespace {

// Shell scripts stand in for snapfaas-vmm.
class ProcessSpawnerTest : public ::testing::Test {
 protected:
  void TearDown() override {
    // No child is left behind by any test.
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
  std::filesystem::path Program(const std::string& body) {
    const auto path = folder_.path() / "vmm";
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    ::chmod(path.c_str(), 0755);
    return path;
  }
  ScratchFolder folder_;
};

TEST_F(ProcessSpawnerTest, MissingProgramIsNamed) {
  ProcessSpawner spawner(folder_.path() / "nothing");
  auto process = spawner.Spawn(VmSize());
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(process.error().Message(), ::testing::HasSubstr("nothing"));
}

TEST_F(ProcessSpawnerTest, ArgumentsSayTheSize) {
  ProcessSpawner spawner(Program("[ \"$*\" = '--control-fd 3 --memory-mib 256 --vcpus 2' ] && exit 7; exit 8"));
  auto process = spawner.Spawn(VmSize{256, 2});
  ASSERT_TRUE(process) << process.error().Message();
  EXPECT_EQ((*process)->DescribeEnd(), "exited with status 7");
}

TEST_F(ProcessSpawnerTest, PidIsThatOfTheProgram) {
  ProcessSpawner spawner(Program(fmt::format("echo $$ > {}/pid", folder_.path().string())));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  (*process)->DescribeEnd();
  pid_t written = 0;
  std::ifstream(folder_.path() / "pid") >> written;
  EXPECT_EQ((*process)->pid(), written);
}

TEST_F(ProcessSpawnerTest, ChildHasNoOtherDescriptorOfOurs) {
  const UniqueFd leaky(::fcntl(STDOUT_FILENO, F_DUPFD, 100));  // not close-on-exec
  ASSERT_TRUE(leaky.valid());
  ProcessSpawner spawner(Program(fmt::format("[ -e /proc/$$/fd/3 ] && [ ! -e /proc/$$/fd/{} ]", leaky.get())));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  EXPECT_EQ((*process)->DescribeEnd(), "exited with status 0");
}

TEST_F(ProcessSpawnerTest, SignalIsNamed) {
  ProcessSpawner spawner(Program("kill -SEGV $$"));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  EXPECT_EQ((*process)->DescribeEnd(), "was killed by signal 11 (Segmentation fault)");
}

TEST_F(ProcessSpawnerTest, EndOfTheChildClosesTheSocket) {
  ProcessSpawner spawner(Program("exit 0"));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  auto packet = wire::ReceivePacket((*process)->control(), -1);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().code, ErrorCode::kUnavailable);
}

TEST_F(ProcessSpawnerTest, DestructionKillsAChildThatIgnoresItsSocket) {
  ProcessSpawner spawner(Program("trap '' TERM HUP; exec sleep 1000"));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  process->reset();  // TearDown looks for the child
}

TEST_F(ProcessSpawnerTest, ChildThatOnlyClosesItsSocketIsEnded) {
  ProcessSpawner spawner(Program("exec 3>&-; exec sleep 1000"));
  auto process = spawner.Spawn(VmSize());
  ASSERT_TRUE(process);
  EXPECT_EQ((*process)->DescribeEnd(), "closed a socket but went on running");
}

}  // namespace
}  // namespace snapfaas::faas
