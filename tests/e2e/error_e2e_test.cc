// Everything that goes wrong gives one clear message, a non-zero exit code, and leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "e2e_environment.h"
#include "snapshot/format.h"
#include "snapshot/manifest.h"
#include "wire/guest_abi.h"

namespace snapfaas::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string BytesOf(int fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd, &status), 0);
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

class ErrorTest : public EndToEndTest {
 protected:
  // The command fails with exit code 1 and one line that begins with "snapfaas: ".
  static std::string FailingMessage(const std::vector<std::string>& arguments, const std::string& input = "{}\n") {
    const auto result = RunSnapfaas(arguments, input);
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, StartsWith("snapfaas: "));
    return result.err;
  }

  // What booting these images says.
  std::string BootError(faas::BootImages images, double timeout_seconds) {
    const int64_t deadline = cli::DeadlineIn(timeout_seconds);
    auto vm = faas::MicroVm::Launch(environment_.spawner(), faas::VmSize(), deadline);
    if (!vm) return vm.error().Message();
    auto booted = vm->Boot(std::move(images), faas::FunctionFiles(), deadline);
    return booted ? "" : booted.error().Message();
  }

  // What restoring with this appfs says.
  std::string RestoreError(UniqueFd appfs) {
    auto images = environment_.OpenImages(wire::RestoreMode::kMmap);
    if (!images) return images.error().Message();
    auto vm = faas::MicroVm::Launch(environment_.spawner(), faas::VmSize(), cli::DeadlineIn(30));
    if (!vm) return vm.error().Message();
    faas::FunctionFiles function;
    function.appfs = std::move(appfs);
    auto restored = vm->Restore(std::move(*images), std::move(function), cli::DeadlineIn(30));
    return restored ? "" : restored.error().Message();
  }

  faas::BootImages GoodImages() {
    auto images = faas::OpenBootImages(environment_.runtime().files);
    EXPECT_TRUE(images);
    return images ? std::move(*images) : faas::BootImages();
  }

  // What restoring from this state says, in a microVM of this size.
  std::string RestoreError(const std::string& state, const faas::VmSize& size = faas::VmSize()) {
    auto images = environment_.OpenImages(wire::RestoreMode::kMmap);
    EXPECT_TRUE(images);
    images->snapshot.state = FileWith(state);
    const int64_t deadline = cli::DeadlineIn(30);
    auto vm = faas::MicroVm::Launch(environment_.spawner(), size, deadline);
    if (!vm) return vm.error().Message();
    auto restored = vm->Restore(std::move(*images), faas::FunctionFiles(), deadline);
    return restored ? "" : restored.error().Message();
  }

  std::string GoodState() { return BytesOf(environment_.snapshot().state_fd()); }
};

// --- What is missing or is not what it should be ---------------------------------------------------------------------

TEST_F(ErrorTest, MissingRuntimeNamesTheCommandThatBuildsIt) {
  const ScratchFolder data;
  EXPECT_THAT(FailingMessage({"--data", data.path().string(), "run", "--runtime", "python3", "--app",
                              Function("raises").string()}),
              HasSubstr("snapfaas runtime build python3"));
}

TEST_F(ErrorTest, MissingKernelIsNamed) {
  auto files = environment_.runtime().files;
  files.kernel = "/nowhere/vmlinuz";
  auto images = faas::OpenBootImages(files);
  ASSERT_FALSE(images);
  EXPECT_EQ(images.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(images.error().Message(), HasSubstr("kernel /nowhere/vmlinuz"));
}

TEST_F(ErrorTest, KernelThatIsNoKernel) {
  auto images = GoodImages();
  images.kernel = FileWith(std::string(1 << 16, 'k'));
  EXPECT_THAT(BootError(std::move(images), 30), HasSubstr("kernel"));
}

TEST_F(ErrorTest, RuntimefsThatIsNoFileSystem) {
  auto images = GoodImages();
  images.runtimefs = FileWith(std::string(1 << 20, 'r'));
  EXPECT_THAT(BootError(std::move(images), 60), AnyOf(HasSubstr("panicked"), HasSubstr("the guest")));
}

TEST_F(ErrorTest, AppfsThatIsNoFileSystem) {
  EXPECT_THAT(RestoreError(FileWith(std::string(1 << 20, 'a'))), HasSubstr("the function cannot be loaded"));
}

TEST_F(ErrorTest, AppfsThatIsTooLarge) {
  UniqueFd large = FileWith("");
  ASSERT_EQ(::ftruncate(large.get(), static_cast<off_t>(wire::kAppfsDeviceBytes + 1)), 0);
  EXPECT_THAT(RestoreError(std::move(large)),
              HasSubstr("the appfs image is not a regular file of 1 to 268435456 bytes"));
}

TEST_F(ErrorTest, MissingAppFolder) {
  EXPECT_THAT(FailingMessage({"run", "--runtime", "python3", "--app", "/nowhere/app"}), HasSubstr("/nowhere/app"));
}

TEST_F(ErrorTest, AppFolderWithoutAHandlerFile) {
  const ScratchFolder empty;
  EXPECT_THAT(FailingMessage({"run", "--runtime", "python3", "--app", empty.path().string()}), HasSubstr("handler"));
}

TEST_F(ErrorTest, AppWithoutAHandlerFunction) {
  EXPECT_THAT(FailingMessage({"run", "--runtime", "python3", "--app", Function("no_handler").string()}),
              AllOf(HasSubstr("the function cannot be loaded"), HasSubstr("HandlerNotFound")));
}

TEST_F(ErrorTest, HandlerThatFailsToImport) {
  EXPECT_THAT(FailingMessage({"run", "--runtime", "python3", "--app", Function("bad_import").string()}),
              AllOf(HasSubstr("the function cannot be loaded"), HasSubstr("a_module_that_nobody_has")));
}

// --- Snapshots that do not fit ---------------------------------------------------------------------------------------

// A data folder of its own: the real runtimes, and a copy of the base snapshot to damage.
class SnapshotErrorTest : public ErrorTest {
 protected:
  void SetUp() override {
    (void)environment_.snapshot();
    const auto& data = environment_.context().data_dir;
    std::filesystem::create_directory(data_.path() / "snapshots");
    std::filesystem::copy(data / "snapshots" / kFolder, folder(), std::filesystem::copy_options::recursive);
    for (const char* name : {"runtimes", "kernels"}) {
      std::filesystem::create_directory_symlink(data / name, data_.path() / name);
    }
  }
  static constexpr char kFolder[] = "python3-128mib-1vcpu";
  std::filesystem::path folder() const { return data_.path() / "snapshots" / kFolder; }
  std::string Run() {
    return FailingMessage(
        {"--data", data_.path().string(), "run", "--runtime", "python3", "--app", Function("raises").string()});
  }
  const ScratchFolder data_;
};

TEST_F(SnapshotErrorTest, TruncatedState) {
  std::filesystem::resize_file(folder() / "state", std::filesystem::file_size(folder() / "state") / 2);
  EXPECT_THAT(Run(), AllOf(HasSubstr("state"), HasSubstr("snapfaas runtime build")));
}

TEST_F(SnapshotErrorTest, AlteredState) {
  auto bytes = ReadFile(folder() / "state");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  WriteFile(folder() / "state", bytes);
  EXPECT_THAT(Run(), AllOf(HasSubstr("state"), HasSubstr("snapfaas runtime build")));
}

TEST_F(SnapshotErrorTest, TruncatedMemory) {
  std::filesystem::resize_file(folder() / "memory", std::filesystem::file_size(folder() / "memory") / 2);
  EXPECT_THAT(Run(), AllOf(HasSubstr("memory"), HasSubstr("snapfaas runtime build")));
}

TEST_F(SnapshotErrorTest, AlteredMemory) {
  const auto path = folder() / "memory";
  auto state = environment_.snapshot().state_fd();
  auto parsed = snapshot::ReadState(state);
  ASSERT_TRUE(parsed);
  ASSERT_FALSE(parsed->memory.runs.empty());
  const auto offset = static_cast<std::streamoff>(parsed->memory.runs.back().first_page) * 4096;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const int byte = file.get();
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  EXPECT_THAT(Run(), AllOf(HasSubstr("memory"), HasSubstr("snapfaas runtime build")));
}

TEST_F(SnapshotErrorTest, MissingMemory) {
  std::filesystem::remove(folder() / "memory");
  EXPECT_THAT(Run(), HasSubstr("memory"));
}

// One from before an upgrade is no error: it is made of nothing but the runtime's images.
TEST_F(SnapshotErrorTest, ManifestOfAnotherVersionIsSaidAndTheSnapshotTakenAnew) {
  auto text = ReadFile(folder() / "manifest.json");
  const size_t found = text.find("\"format_version\"");
  ASSERT_NE(found, std::string::npos);
  const size_t digit = text.find('2', found);
  ASSERT_NE(digit, std::string::npos);
  text[digit] = '7';
  WriteFile(folder() / "manifest.json", text);
  const std::vector<std::string> run = {"--data", data_.path().string(),      "run", "--runtime", "python3",
                                        "--app",  Function("raises").string()};
  const auto first = RunSnapfaas(run, "{}\n");
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("is out of date: taking it now"));
  const auto second = RunSnapfaas(run, "{}\n");
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, Not(HasSubstr("out of date")));
}

TEST_F(ErrorTest, StateOfAnotherVersion) {
  auto state = GoodState();
  state[8] = 9;
  EXPECT_THAT(RestoreError(state), HasSubstr("version 9"));
}

TEST_F(ErrorTest, StateThatIsTruncated) {
  auto state = GoodState();
  state.resize(state.size() - 1);
  EXPECT_THAT(RestoreError(state), HasSubstr("truncated"));
}

TEST_F(ErrorTest, StateOfAnotherCpu) {
  const auto bytes = GoodState();
  auto state = snapshot::DecodeState({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  ASSERT_TRUE(state) << state.error().Message();
  state->machine.cpu.family ^= 1;
  auto altered = snapshot::EncodeState(*state);
  ASSERT_TRUE(altered) << altered.error().Message();
  EXPECT_THAT(RestoreError(std::string(altered->begin(), altered->end())), HasSubstr("CPU"));
}

TEST_F(ErrorTest, StateOfAnotherMemorySize) {
  EXPECT_THAT(RestoreError(GoodState(), faas::VmSize{256, 1}), HasSubstr("128 MiB"));
}

TEST_F(ErrorTest, StateOfAnotherNumberOfVcpus) {
  EXPECT_THAT(RestoreError(GoodState(), faas::VmSize{128, 2}), HasSubstr("vCPU"));
}

// --- Guests that misbehave, and VMMs that die ------------------------------------------------------------------------

TEST_F(ErrorTest, GuestThatPanics) {
  const auto result = RunSnapfaas({"run", "--runtime", "python3", "--app", Function("panics").string()}, "{}\n");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("the guest kernel panicked: sysrq triggered crash"));
}

TEST_F(ErrorTest, HangBeforeTheSnapshotPoint) {
  auto images = GoodImages();
  const std::string spinning = ReadFile(SNAPFAAS_SPINNING_KERNEL);
  ASSERT_NE(spinning, "") << SNAPFAAS_SPINNING_KERNEL << " is not visible";
  images.kernel = FileWith(spinning);
  images.initramfs.Reset();
  auto vm = faas::MicroVm::Launch(environment_.spawner(), faas::VmSize(), cli::DeadlineIn(30));
  ASSERT_TRUE(vm) << vm.error().Message();
  auto taken = vm->BootToSnapshot(std::move(images), FileWith(""), FileWith(""), cli::DeadlineIn(2));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kTimedOut);
  EXPECT_THAT(taken.error().Message(), AllOf(HasSubstr("snapshot point (124)"), HasSubstr("1, kernel up")));
}

TEST_F(ErrorTest, HangBeforeReady) {
  auto vm = RestoreWith("hangs_on_load", wire::RestoreMode::kMmap, 4);
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, ErrorCode::kTimedOut);
  EXPECT_THAT(vm.error().Message(), AllOf(HasSubstr("did not become ready (126)"), HasSubstr("4, appfs mounted")));
}

TEST_F(ErrorTest, StartTimeoutOfTheCommand) {
  EXPECT_THAT(
      FailingMessage({"run", "--runtime", "python3", "--app", Function("hangs_on_load").string(), "--timeout", "4"}),
      HasSubstr("did not become ready (126)"));
}

TEST_F(ErrorTest, KilledVmm) {
  auto vm = RestoreWith("sleeps");
  ASSERT_TRUE(vm) << vm.error().Message();
  std::thread killer([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    for (const pid_t pid : VmmChildren()) ::kill(pid, SIGKILL);
  });
  auto response = vm->Invoke({R"({"seconds":30})", ""}, cli::DeadlineIn(60));
  killer.join();
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().Message(), HasSubstr("snapfaas-vmm was killed by signal 9 (Killed)"));
}

TEST_F(ErrorTest, EndOfTheFunctionsProcessIsToldAtOnceAndByItsReason) {
  const auto message = [](const std::string& event) {
    return FailingMessage({"run", "--runtime", "python3", "--app", Function("ends").string()}, event + "\n");
  };
  EXPECT_EQ(message(R"({"how":"exit","status":0})"), "snapfaas: Runtime exited without providing a reason\n");
  EXPECT_EQ(message(R"({"how":"exit","status":3})"), "snapfaas: Runtime exited with error: exit status 3\n");
  EXPECT_EQ(message(R"({"how":"fault"})"), "snapfaas: Runtime exited with error: signal: segmentation fault\n");
  EXPECT_EQ(message(R"({"how":"hoard"})"), "snapfaas: Runtime exited with error: signal: killed\n");
}

TEST_F(ErrorTest, FunctionThatDoesNotAnswerInTime) {
  auto vm = RestoreWith("sleeps");
  ASSERT_TRUE(vm) << vm.error().Message();
  auto response = vm->Invoke({R"({"seconds":30})", ""}, cli::DeadlineIn(1));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kTimedOut);
}

}  // namespace
}  // namespace snapfaas::e2e
