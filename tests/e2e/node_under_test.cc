#include "node_under_test.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/base64.h"
#include "base/unique_fd.h"
#include "cli/deployment_package.h"
#include "e2e_environment.h"

namespace snapfaas::e2e {
namespace {

constexpr std::chrono::seconds kStartPatience{240};
constexpr std::chrono::milliseconds kPoll{20};

// What it says when it can be reached.
std::optional<uint16_t> PortIn(const std::string& log) {
  constexpr std::string_view kMark = " port ";
  const size_t listening = log.rfind("listening at ");
  if (listening == std::string::npos) return std::nullopt;
  const size_t mark = log.find(kMark, listening);
  if (mark == std::string::npos || log.find('\n', mark) == std::string::npos) return std::nullopt;
  return static_cast<uint16_t>(std::atoi(log.c_str() + mark + kMark.size()));
}

}  // namespace

NodeUnderTest::NodeUnderTest(const std::string& config) { std::ofstream(state_dir() / "node.toml") << config; }

NodeUnderTest::~NodeUnderTest() {
  if (IsRunning()) Kill();
  if (::testing::Test::HasFailure()) fmt::print(stderr, "the node's log:\n{}\n", Log());
}

std::string NodeUnderTest::url() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::string NodeUnderTest::Log() const { return ReadFile(state_dir() / "node.log"); }

void NodeUnderTest::Start() {
  const auto& context = Environment::Get().context();
  const std::string program = (context.bin_dir / "snapfaasd").string();
  const std::string config = (state_dir() / "node.toml").string();
  const std::string port = std::to_string(port_);
  const size_t logged = Log().size();
  const UniqueFd log(::open((state_dir() / "node.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const char* argv[] = {program.c_str(),     "--data",   context.data_dir.c_str(), "--state",
                        state_dir().c_str(), "--config", config.c_str(),           "--port",
                        port.c_str(),        nullptr};
  pid_ = ::fork();
  ASSERT_GE(pid_, 0);
  if (pid_ == 0) {
    ::dup2(log.get(), STDERR_FILENO);
    ::execv(program.c_str(), const_cast<char**>(argv));
    ::_exit(127);
  }
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  for (;;) {
    if (const auto found = PortIn(Log().substr(logged))) {
      port_ = *found;
      return;
    }
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = 0;
      FAIL() << "the node ended: " << Log();
    }
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << Log();
    std::this_thread::sleep_for(kPoll);
  }
}

int NodeUnderTest::Stop() {
  ::kill(pid_, SIGTERM);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void NodeUnderTest::Kill() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void NodeUnderTest::Deploy(const std::string& name, const std::string& source,
                           const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"deploy",     name, Function(source).string(), "--runtime", "python3",
                                        "--endpoint", url()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const auto deployed = RunSnapfaas(arguments);
  ASSERT_EQ(deployed.exit_code, 0) << deployed.err;
}

Invoked NodeUnderTest::Invoke(const std::string& name, const nlohmann::json& event, const std::string& type,
                              double timeout_seconds) const {
  Invoked invoked;
  const auto endpoint = cli::ParseEndpoint(url());
  if (!endpoint) return invoked;
  const cli::HttpClient client(*endpoint, std::nullopt, {});
  cli::HttpCall call;
  call.method = "POST";
  call.target = cli::FunctionPath(name, "/invocations");
  call.headers = {{"X-Amz-Invocation-Type", type}};
  call.body = event.dump();
  call.timeout_seconds = timeout_seconds;
  const auto reply = client.Send(call);
  if (!reply) {
    invoked.body = reply.error().Message();
    return invoked;
  }
  invoked.status = reply->status;
  invoked.function_error = reply->Header("X-Amz-Function-Error");
  invoked.start = reply->Header("X-SnapFaaS-Start");
  invoked.body = nlohmann::json::parse(reply->body, nullptr, /*allow_exceptions=*/false);
  return invoked;
}

Result<nlohmann::json> NodeUnderTest::Call(const std::string& method, const std::string& target,
                                           const nlohmann::json& body) const {
  auto client = cli::NodeClient::Connect({url(), false});
  if (!client) return Forward(client.error());
  return client->Call(method, target, body);
}

nlohmann::json NodeUnderTest::Get(const std::string& target) const {
  auto answer = Call("GET", target);
  if (answer) return *answer;
  ADD_FAILURE() << target << ": " << answer.error().Message();
  return {};
}

nlohmann::json DeploymentOf(const std::string& name, const std::string& source) {
  auto package = cli::MakePackage(Function(source), nullptr);
  EXPECT_TRUE(package);
  return {{"FunctionName", name},
          {"Runtime", "python3"},
          {"Role", "arn:aws:iam::000000000000:role/test"},
          {"Handler", "app.handler"},
          {"Code", {{"ZipFile", EncodeBase64(package->zip)}}}};
}

std::vector<pid_t> NodeUnderTest::Vmms() {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // Its first thread ends before the last one has closed the files of all.
    const std::string status = ReadFile(entry.path() / "stat");
    const auto threads = std::filesystem::directory_iterator(entry.path() / "task", ignored);
    const bool is_vmm = status.find("(snapfaas-vmm) ") != std::string::npos;
    const bool has_ended = status.find(") Z ") != std::string::npos && std::distance(begin(threads), end(threads)) <= 1;
    if (is_vmm && !has_ended) found.push_back(std::atoi(name.c_str()));
  }
  return found;
}

}  // namespace snapfaas::e2e
