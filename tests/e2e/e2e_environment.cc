#include "e2e_environment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/file_system.h"

namespace snapfaas::e2e {
namespace {

[[noreturn]] void GiveUp(const Error& error) {
  fmt::print(stderr, "the end-to-end tests cannot run: {}\n", error.Message());
  std::exit(1);
}

std::string ReadAll(int fd) {
  std::string text;
  char chunk[4096];
  for (off_t offset = 0;;) {
    const ssize_t got = ::pread(fd, chunk, sizeof chunk, offset);
    if (got <= 0) return text;
    text.append(chunk, static_cast<size_t>(got));
    offset += got;
  }
}

// Temporary files that a snapfaas command may have left.
std::vector<std::string> Leftovers() {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("snapfaas-") || name.starts_with(".tmp-")) found.push_back(name);
  }
  return found;
}

}  // namespace

Environment& Environment::Get() {
  static Environment* environment = [] {
    auto context = cli::MakeContext("");
    if (!context) GiveUp(context.error());
    auto runtime = cli::OpenRuntime(*context, "python3");
    if (!runtime) GiveUp(runtime.error());
    auto* made = new Environment();  // lives as long as the process
    made->spawner_ = std::make_unique<faas::ProcessSpawner>(cli::VmmPath(*context));
    made->context_ = std::move(*context);
    made->runtime_ = std::move(*runtime);
    return made;
  }();
  return *environment;
}

const snapshot::LoadedSnapshot& Environment::snapshot() {
  if (!snapshot_) {
    auto loaded = cli::LoadSnapshot(context_, *spawner_, runtime_.files, faas::VmSize(), faas::Tier::kMemory,
                                    cli::kBootTimeoutSeconds);
    if (!loaded) GiveUp(loaded.error());
    snapshot_.emplace(std::move(*loaded));
  }
  return *snapshot_;
}

const snapshot::InMemoryImage& Environment::runtimefs() {
  if (!runtimefs_) {
    auto loaded = faas::LoadRuntimefs(runtime_.files);
    if (!loaded) GiveUp(loaded.error());
    runtimefs_.emplace(std::move(*loaded));
  }
  return *runtimefs_;
}

Result<faas::RestoreImages> Environment::OpenImages(wire::RestoreMode mode) {
  return faas::OpenRestoreImages(runtimefs(), snapshot(), mode);
}

UniqueFd Environment::Appfs(const std::string& name) {
  auto& image = appfs_[name];
  if (!image.valid()) {
    auto built = cli::MakeAppfs(Function(name), runtime_);
    if (!built) GiveUp(built.error());
    image = std::move(*built);
  }
  return UniqueFd(::fcntl(image.get(), F_DUPFD_CLOEXEC, 0));
}

void EndToEndTest::TearDown() {
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child process is left";
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(Leftovers(), std::vector<std::string>());
}

Status RestoreInto(faas::MicroVm& vm, const std::string& function, wire::RestoreMode mode, int64_t deadline_ns) {
  auto& environment = Environment::Get();
  auto images = environment.OpenImages(mode);
  if (!images) return Forward(images.error());
  faas::FunctionFiles files;
  files.appfs = environment.Appfs(function);
  return vm.Restore(std::move(*images), std::move(files), deadline_ns);
}

Result<faas::MicroVm> RestoreWith(const std::string& function, wire::RestoreMode mode, double timeout_seconds) {
  const int64_t deadline = cli::DeadlineIn(timeout_seconds);
  auto vm = faas::MicroVm::Launch(Environment::Get().spawner(), faas::VmSize(), deadline);
  if (!vm) return vm;
  auto restored = RestoreInto(*vm, function, mode, deadline);
  if (!restored) return Forward(restored.error());
  return vm;
}

nlohmann::json Ask(faas::MicroVm& vm, const nlohmann::json& event) {
  auto response = vm.Invoke({event.dump(), ""}, cli::DeadlineIn(60));
  if (!response) {
    ADD_FAILURE() << response.error().Message();
    return {};
  }
  return nlohmann::json::parse(response->payload, nullptr, /*allow_exceptions=*/false);
}

CommandResult RunSnapfaas(const std::vector<std::string>& arguments, const std::string& input) {
  const UniqueFd in = FileWith(input);
  const UniqueFd out = FileWith("");
  const UniqueFd err = FileWith("");
  const std::string program = (Environment::Get().context().bin_dir / "snapfaas").string();
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(err.get(), STDERR_FILENO);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  CommandResult result;
  int status = 0;
  if (pid > 0 && ::waitpid(pid, &status, 0) == pid && WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  result.out = ReadAll(out.get());
  result.err = ReadAll(err.get());
  return result;
}

std::vector<pid_t> VmmChildren() {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc()) continue;
    // "<pid> (<name>) <state> <parent> ..."
    const std::string stat = ReadFile(entry.path() / "stat");
    const size_t close = stat.rfind(") ");
    if (close == std::string::npos || stat.find("(snapfaas-vmm") == std::string::npos) continue;
    if (std::atoi(stat.c_str() + close + 4) == ::getpid()) pids.push_back(pid);
  }
  return pids;
}

std::filesystem::path Function(const std::string& name) { return std::filesystem::path(SNAPFAAS_FUNCTIONS) / name; }

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  // A file of /proc may be gone between two reads. The operator takes that for the end; the iterator would throw.
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

UniqueFd FileWith(const std::string& bytes) {
  UniqueFd file(::memfd_create("snapfaas-e2e", MFD_CLOEXEC));
  EXPECT_TRUE(WriteAll(file.get(), bytes));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  return file;
}

}  // namespace snapfaas::e2e
