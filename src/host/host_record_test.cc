#include "host/host_record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace snapfaas::host {
namespace {

TEST(HostRecord, SurvivesTheFile) {
  const HostRecord record{{4321, 987654321}, 40123, 6144, 1'700'000'000};
  const auto decoded = DecodeHostRecord(EncodeHostRecord(record));
  ASSERT_TRUE(decoded) << decoded.error().Message();
  EXPECT_EQ(decoded->process, record.process);
  EXPECT_EQ(decoded->port, record.port);
  EXPECT_EQ(decoded->memory_mib, record.memory_mib);
  EXPECT_EQ(decoded->started_unix, record.started_unix);
}

TEST(HostRecord, DamagedTextIsCorrupt) {
  const char* rest = R"(,"start_ticks":1,"memory_mib":1,"started_unix":1})";
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string(R"({"pid":5})"),
        std::string(R"({"pid":1,"port":80)") + rest, std::string(R"({"pid":-1,"port":80)") + rest,
        std::string(R"({"pid":99999999,"port":80)") + rest, std::string(R"({"pid":"5","port":80)") + rest,
        std::string(R"({"pid":5,"port":0)") + rest, std::string(R"({"pid":5,"port":65536)") + rest}) {
    const auto decoded = DecodeHostRecord(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
  }
}

TEST(PrivateFile, IsReadableByItsOwnerOnly) {
  const std::string path = testing::TempDir() + "host_record_private_" + std::to_string(::getpid());
  ASSERT_TRUE(WritePrivateFile(path, "secret"));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(*ReadPrivateFile(path), "secret");
  ::unlink(path.c_str());
  EXPECT_EQ(ReadPrivateFile(path).error().code, ErrorCode::kNotFound);
}

TEST(Process, DaemonRunsIsFoundAndIsKilled) {
  const std::string log = testing::TempDir() + "host_process_log_" + std::to_string(::getpid());
  const auto process = StartDaemon({"sh", "-c", "echo first; echo second; exec sleep 60"}, log);
  ASSERT_TRUE(process) << process.error().Message();
  EXPECT_TRUE(IsAlive(*process));
  // The same number with another start time is another process.
  EXPECT_FALSE(IsAlive({process->pid, process->start_ticks + 1}));
  EXPECT_EQ(WaitUntilGone(*process, std::chrono::milliseconds(300)), WaitOutcome::kStillThere);
  EXPECT_EQ(LastLines(log, 1), "second");
  EXPECT_EQ(LastLines(log, 9), "first\nsecond");
  KillProcess(*process);
  EXPECT_FALSE(IsAlive(*process));
  ::unlink(log.c_str());
}

TEST(Process, MissingProgramIsNotFound) {
  const auto process = StartDaemon({"no-such-program"}, "/dev/null");
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace snapfaas::host
