// The node's VmHost with real microVMs: every end that a request may come to, and nothing left of any.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "e2e_environment.h"
#include "images/appfs.h"
#include "node/microvm_host.h"

namespace snapfaas::e2e {
namespace {

using faas::FunctionOutcome;
using faas::StartKind;
using faas::VmHost;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kMaxLogBytes = 1_MiB;
constexpr auto kPatience = std::chrono::seconds(120);

// One host for all tests here: under emulation, loading a runtime takes longer than they do. Its data folder is its
// own, for what it makes.
class MicroVmHostTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto& environment = Environment::Get();
    shared_ = std::make_unique<Shared>();
    ShareRuntimes(environment);
    node::MicroVmHost::Options options;
    options.data_dir = shared_->folder.path();
    options.log_dir = shared_->folder.path() / "logs";
    options.vmm = cli::VmmPath(environment.context());
    options.pool = {.shells_per_kind = 1, .max_shells = 2};
    options.launch_timeout_ns = 60 * kSecond;
    options.log.max_file_bytes = kMaxLogBytes;
    options.notice = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
    auto host = node::MicroVmHost::Create(std::move(options));
    ASSERT_TRUE(host) << host.error().Message();
    shared_->host = std::move(*host);
  }

  static void TearDownTestSuite() {
    // Shells and idle microVMs are there still.
    shared_.reset();
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child process is left";
  }

  // The runtimes and the base snapshot that were built already are used as they are.
  static void ShareRuntimes(Environment& environment) {
    const auto& data = environment.context().data_dir;
    const auto& folder = shared_->folder.path();
    for (const char* name : {"runtimes", "kernels"}) {
      std::filesystem::create_directory_symlink(data / name, folder / name);
    }
    (void)environment.snapshot();
    const auto base = std::filesystem::path("snapshots") / "python3-128mib-1vcpu";
    std::filesystem::create_directories(folder / "snapshots");
    std::filesystem::copy(data / base, folder / base, std::filesystem::copy_options::recursive);
  }

  MicroVmHostTest() {
    spec_.version = "1";
    spec_.timeout_ns = 60 * kSecond;
  }

  void SetUp() override { ASSERT_TRUE(shared_ && shared_->host); }

  void Prepare(const std::string& function = "does_as_told") {
    const auto image = shared_->folder.path() / fmt::format("{}-{}.erofs", function, ++shared_->images);
    const auto& runtime = Environment::Get().runtime();
    auto built = images::BuildAppfs(Function(function), runtime.recipe, runtime.compile_command, image);
    ASSERT_TRUE(built) << built.error().Message();
    spec_.key = fmt::format("{}:1@{}", function, shared_->images);
    spec_.function = function;
    auto prepared = host().Prepare({spec_.key, "python3", spec_.size, image});
    ASSERT_TRUE(prepared) << prepared.error().Message();
  }

  static node::MicroVmHost& host() { return *shared_->host; }
  static faas::VmId NewVm() { return ++shared_->vms; }

  faas::SharedRequest Request(const json& event) {
    last_id_ = fmt::format("r-{}", ++shared_->requests);
    return std::make_shared<faas::FunctionRequest>(faas::FunctionRequest{last_id_, event.dump(), "arn:test", ""});
  }
  std::future<VmHost::Answer> BeginLaunchAndInvoke(faas::VmId vm, const json& event) {
    auto promise = std::make_shared<std::promise<VmHost::Answer>>();
    host().LaunchAndInvoke(
        vm, spec_, Request(event), [] {}, [promise](VmHost::Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  std::future<VmHost::Answer> BeginInvoke(faas::VmId vm, const json& event) {
    auto promise = std::make_shared<std::promise<VmHost::Answer>>();
    host().Invoke(vm, Request(event), [promise](VmHost::Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  static VmHost::Answer Wait(std::future<VmHost::Answer> future) {
    if (future.wait_for(kPatience) == std::future_status::ready) return future.get();
    ADD_FAILURE() << "no answer came";
    return {};
  }
  VmHost::Answer LaunchAndInvoke(faas::VmId vm, const json& event) { return Wait(BeginLaunchAndInvoke(vm, event)); }
  VmHost::Answer Invoke(faas::VmId vm, const json& event) { return Wait(BeginInvoke(vm, event)); }
  Status Reset(faas::VmId vm) {
    std::promise<Status> promise;
    host().Reset(vm, [&promise](Status status) { promise.set_value(std::move(status)); });
    return promise.get_future().get();
  }
  void Destroy(faas::VmId vm) {
    std::promise<void> promise;
    host().Destroy(vm, [&promise] { promise.set_value(); });
    promise.get_future().get();
  }
  // Waits until the function says in its log that it is at the last request.
  void WaitUntilTold() {
    const std::string text = "told for " + last_id_ + "\n";
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (Log().find(text) == std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "it is not in the log: " << text;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  std::string Log() { return host().ReadLog(spec_.function, 0, 100_MiB)->text; }

  struct Shared {
    ScratchFolder folder;
    std::unique_ptr<node::MicroVmHost> host;
    faas::VmId vms = 0;
    int requests = 0;
    int images = 0;
  };
  static inline std::unique_ptr<Shared> shared_;

  faas::FunctionSpec spec_;
  std::string last_id_;
};

TEST_F(MicroVmHostTest, LaunchesServesAgainAndResets) {
  Prepare();
  const faas::VmId vm = NewVm();
  const auto first = LaunchAndInvoke(vm, {{"keep", "a"}});
  ASSERT_EQ(first.outcome.kind, FunctionOutcome::Kind::kResult) << first.outcome.message << first.outcome.payload;
  const auto answer = json::parse(first.outcome.payload);
  EXPECT_EQ(answer["request"], last_id_);
  EXPECT_EQ(answer["version"], "1");
  EXPECT_TRUE(answer["kept"].is_null());
  EXPECT_TRUE(first.is_usable);
  EXPECT_EQ(first.outcome.timings.start, StartKind::kRestored);
  EXPECT_FALSE(first.outcome.timings.from_function_snapshot);
  EXPECT_GT(first.outcome.timings.restore, 0);
  EXPECT_GT(first.outcome.timings.load, 0);
  EXPECT_THAT(
      first.outcome.log_tail,
      AllOf(StartsWith(fmt::format("START RequestId: {0} Version: 1\ntold for {0}\nEND RequestId: {0}\n", last_id_)),
            HasSubstr("\tInit Duration: ")));
  EXPECT_GT(host().pid(vm), 0);

  const auto second = Invoke(vm, {{"do", "raise"}, {"keep", "b"}});
  EXPECT_EQ(second.outcome.kind, FunctionOutcome::Kind::kError);
  EXPECT_EQ(json::parse(second.outcome.payload)["errorType"], "ValueError");
  EXPECT_EQ(json::parse(Invoke(vm, json::object()).outcome.payload)["kept"], "b");

  const auto reset = Reset(vm);
  ASSERT_TRUE(reset) << reset.error().Message();
  const auto fresh = Invoke(vm, json::object());
  ASSERT_EQ(fresh.outcome.kind, FunctionOutcome::Kind::kResult) << fresh.outcome.message;
  EXPECT_TRUE(json::parse(fresh.outcome.payload)["kept"].is_null());
  EXPECT_EQ(fresh.outcome.timings.start, StartKind::kReset);
  Destroy(vm);
  EXPECT_EQ(host().pid(vm), 0);
}

TEST_F(MicroVmHostTest, AFunctionThatDiesHasCrashedAndSaysHow) {
  Prepare();
  const faas::VmId first = NewVm();
  const auto exited = LaunchAndInvoke(first, {{"do", "exit"}});
  EXPECT_EQ(exited.outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_THAT(exited.outcome.message, HasSubstr("Runtime exited with error: exit status 3"));
  EXPECT_FALSE(exited.is_usable);
  EXPECT_THAT(exited.outcome.log_tail, HasSubstr(fmt::format("told for {0}\nRequestId: {0} Error: ", last_id_)));
  Destroy(first);
  const faas::VmId second = NewVm();
  ASSERT_TRUE(LaunchAndInvoke(second, json::object()).is_usable);
  const auto killed = Invoke(second, {{"do", "segfault"}});
  EXPECT_EQ(killed.outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_THAT(killed.outcome.message, HasSubstr("Runtime exited with error: signal: "));
  Destroy(second);
}

TEST_F(MicroVmHostTest, AFunctionThatLoopsTimesOut) {
  Prepare();
  const faas::VmId vm = NewVm();
  spec_.timeout_ns = kSecond;
  const auto late = LaunchAndInvoke(vm, {{"do", "loop"}});
  EXPECT_EQ(late.outcome.kind, FunctionOutcome::Kind::kTimedOut) << late.outcome.message;
  EXPECT_EQ(late.outcome.message, "Task timed out after 1.00 seconds");
  EXPECT_GE(late.outcome.timings.run, 1000);
  EXPECT_FALSE(late.is_usable);
  EXPECT_THAT(late.outcome.log_tail, HasSubstr("Task timed out after 1.00 seconds\n\nEND"));
  Destroy(vm);
}

TEST_F(MicroVmHostTest, AFunctionThatCannotBeLoadedSaysWhy) {
  Prepare("bad_import");
  const faas::VmId vm = NewVm();
  const auto answer = LaunchAndInvoke(vm, json::object());
  EXPECT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kInitError);
  EXPECT_TRUE(json::parse(answer.outcome.payload).contains("errorType")) << answer.outcome.payload;
  EXPECT_FALSE(answer.is_usable);
  Destroy(vm);
  EXPECT_FALSE(host().TakeFunctionSnapshot(spec_.key));
}

TEST_F(MicroVmHostTest, AVmmThatIsKilledCostsItsRequestOnly) {
  Prepare();
  const faas::VmId other = NewVm();
  ASSERT_TRUE(LaunchAndInvoke(other, json::object()).is_usable);
  const faas::VmId vm = NewVm();
  auto answer = BeginLaunchAndInvoke(vm, {{"do", "sleep"}});
  WaitUntilTold();
  ASSERT_GT(host().pid(vm), 0);
  ASSERT_EQ(::kill(host().pid(vm), SIGKILL), 0);
  const auto killed = Wait(std::move(answer));
  EXPECT_EQ(killed.outcome.kind, FunctionOutcome::Kind::kCrashed);
  EXPECT_THAT(killed.outcome.message, HasSubstr("was killed by signal 9"));
  EXPECT_FALSE(killed.is_usable);
  Destroy(vm);
  EXPECT_TRUE(Invoke(other, json::object()).is_usable);
  Destroy(other);
}

TEST_F(MicroVmHostTest, DestroyEndsWhatIsUnderWay) {
  Prepare();
  const faas::VmId vm = NewVm();
  auto answer = BeginLaunchAndInvoke(vm, {{"do", "loop"}});
  WaitUntilTold();
  const pid_t pid = host().pid(vm);
  Destroy(vm);
  EXPECT_EQ(::kill(pid, 0), -1) << "the VMM is still there";
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(answer.get().outcome.kind, FunctionOutcome::Kind::kCrashed);
}

TEST_F(MicroVmHostTest, AFunctionThatPrintsALotIsServedAndBounded) {
  Prepare();
  const faas::VmId vm = NewVm();
  const auto answer = LaunchAndInvoke(vm, {{"do", "flood"}, {"pieces", 96}});
  ASSERT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kResult) << answer.outcome.message;
  EXPECT_THAT(answer.outcome.log_tail, HasSubstr(fmt::format("END RequestId: {}\nREPORT ", last_id_)));
  EXPECT_TRUE(Invoke(vm, json::object()).is_usable);
  EXPECT_THAT(Log(), HasSubstr(fmt::format("\ntold for {}\n", last_id_))) << "it has fallen silent";
  for (const auto& entry : std::filesystem::directory_iterator(shared_->folder.path() / "logs")) {
    EXPECT_LE(entry.file_size(), kMaxLogBytes + node::FunctionLog::kMaxPending);
  }
  Destroy(vm);
}

// Last, since others would find its snapshot.
TEST_F(MicroVmHostTest, ThenAFunctionSnapshotIsTakenAndUsed) {
  Prepare();
  const auto taken = host().TakeFunctionSnapshot(spec_.key);
  ASSERT_TRUE(taken) << taken.error().Message();
  faas::VmId last = 0;
  for (int i = 0; i < 3; ++i) {
    last = NewVm();
    const auto answer = LaunchAndInvoke(last, json::object());
    ASSERT_EQ(answer.outcome.kind, FunctionOutcome::Kind::kResult) << answer.outcome.message;
    EXPECT_TRUE(answer.outcome.timings.from_function_snapshot);
    EXPECT_THAT(answer.outcome.log_tail, HasSubstr("\tRestore Duration: "));
  }
  const auto snapshots = host().Snapshots();
  ASSERT_TRUE(snapshots) << snapshots.error().Message();
  EXPECT_EQ(snapshots->size(), 2U);
  host().Forget(spec_.key);
  EXPECT_EQ(LaunchAndInvoke(NewVm(), json::object()).outcome.kind, FunctionOutcome::Kind::kLaunchFailed);
  // Those that live do not need what is forgotten.
  EXPECT_EQ(Invoke(last, json::object()).outcome.kind, FunctionOutcome::Kind::kResult);
}

}  // namespace
}  // namespace snapfaas::e2e
