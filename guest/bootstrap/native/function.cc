#include "bootstrap/native/function.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "bootstrap/native/report.h"
#include "common/file_pages.h"

namespace snapfaas::guest::native {
namespace {

using nlohmann::json;

constexpr char kProgram[] = "bootstrap";
constexpr char kConfigurationFile[] = ".snapfaas/function.json";
constexpr char kLogStreamVariable[] = "AWS_LAMBDA_LOG_STREAM_NAME=";
constexpr size_t kMaxConfigurationBytes = size_t{1} << 20;

LoadError InitError(std::string message) { return {"Runtime.InitError", std::move(message)}; }

std::string MakeLogStreamName(const std::string& version) {
  const time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 16> date{};
  ::strftime(date.data(), date.size(), "%Y/%m/%d", &parts);
  std::array<unsigned char, 16> random{};
  if (::getrandom(random.data(), random.size(), 0) < 0) random.fill(0);
  std::string name = std::string(date.data()) + "/[" + version + "]";
  for (const unsigned char byte : random) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned>(byte));
    name += digits.data();
  }
  return name;
}

// False: there is no such file. A file that is too large is cut.
bool ReadFile(const std::string& path, std::string& content) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, 4096> piece{};
  ssize_t got = 0;
  while (content.size() < kMaxConfigurationBytes && (got = ::read(fd, piece.data(), piece.size())) > 0) {
    content.append(piece.data(), static_cast<size_t>(got));
  }
  ::close(fd);
  return true;
}

void Take(const json& object, const char* key, std::string& value) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  if (found->is_string() && !found->get_ref<const std::string&>().empty()) value = found->get<std::string>();
  if (found->is_number_integer()) value = found->dump();
}

std::optional<LoadError> TakeEnvironment(const json& object, std::vector<std::string>& environment) {
  const auto found = object.find("environment");
  if (found == object.end() || !found->is_object()) return {};
  for (const auto& [name, value] : found->items()) {
    const bool fine = !name.empty() && name.find('=') == std::string::npos && value.is_string() &&
                      (name + value.get<std::string>()).find('\0') == std::string::npos;
    if (!fine) return InitError("an environment variable cannot be set: " + name);
    environment.push_back(name + "=" + value.get<std::string>());
  }
  return {};
}

std::string_view NameOf(std::string_view variable) { return variable.substr(0, variable.find('=')); }

// Later ones win.
class Environment {
 public:
  explicit Environment(char** inherited) {
    for (char** variable = inherited; *variable != nullptr; ++variable) Set(*variable);
  }

  void Set(std::string variable) {
    for (std::string& present : variables_) {
      if (NameOf(present) == NameOf(variable)) {
        present = std::move(variable);
        return;
      }
    }
    variables_.push_back(std::move(variable));
  }

  std::vector<char*> Pointers() {
    std::vector<char*> pointers;
    for (std::string& variable : variables_) pointers.push_back(variable.data());
    pointers.push_back(nullptr);
    return pointers;
  }

 private:
  std::vector<std::string> variables_;
};

// AWS Lambda's words.
LoadError NoEntrypoint(const std::string& program) {
  return {"Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [" + program + "]"};
}

LoadError CannotExecute(const std::string& program, int error) {
  std::string why = std::strerror(error);
  why[0] = static_cast<char>(why[0] | 0x20);
  return {"Runtime.InvalidEntrypoint", "fork/exec " + program + ": " + why};
}

// Where the strings of a process's environment begin and end (proc(5), stat: env_start, env_end).
bool FindEnvironment(pid_t pid, uintptr_t& start, uintptr_t& end) {
  std::string text;
  if (!ReadFile("/proc/" + std::to_string(pid) + "/stat", text)) return false;
  // The second field is the program's name, which may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return false;
  constexpr int kEnvStart = 50;
  char* at = text.data() + name_end + 1;
  for (int field = 3; field < kEnvStart; ++field) {
    at = std::strchr(at + 1, ' ');
    if (at == nullptr) return false;
  }
  char* after = nullptr;
  start = std::strtoul(at, &after, 10);
  end = std::strtoul(after, nullptr, 10);
  return start != 0 && end > start;
}

iovec LocalPiece(const char* data, size_t size) { return {const_cast<char*>(data), size}; }

// An address of another process is a number here.
iovec RemotePiece(uintptr_t address, size_t size) {
  return {reinterpret_cast<void*>(address), size};  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

std::optional<LoadError> ReadConfiguration(const std::string& folder, Configuration& configuration) {
  std::string text;
  if (!ReadFile(folder + "/" + kConfigurationFile, text)) return {};
  configuration.deployed = true;
  const json object = ParseJson(text, 2);
  if (!object.is_object()) return InitError(std::string(kConfigurationFile) + " cannot be read: it is no JSON object");
  const auto handler = object.find("handler");
  if (handler == object.end() || !handler->is_string()) {
    return InitError(std::string(kConfigurationFile) + " names no handler");
  }
  configuration.handler = handler->get<std::string>();
  Take(object, "functionName", configuration.name);
  Take(object, "functionVersion", configuration.version);
  Take(object, "memorySize", configuration.memory_size);
  Take(object, "region", configuration.region);
  return TakeEnvironment(object, configuration.environment);
}

std::optional<LoadError> FunctionProcess::Start(const std::string& folder, const Configuration& configuration,
                                                const std::string& api, bool for_snapshot) {
  version_ = configuration.version;
  log_stream_ = MakeLogStreamName(version_);
  Environment environment(environ);
  // As AWS Lambda's provided runtimes have it, which have no AWS_EXECUTION_ENV.
  environment.Set("AWS_LAMBDA_RUNTIME_API=" + api);
  environment.Set("_HANDLER=" + configuration.handler);
  environment.Set("AWS_DEFAULT_REGION=" + configuration.region);
  environment.Set("AWS_REGION=" + configuration.region);
  environment.Set("AWS_LAMBDA_FUNCTION_NAME=" + configuration.name);
  environment.Set("AWS_LAMBDA_FUNCTION_VERSION=" + configuration.version);
  environment.Set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + configuration.memory_size);
  environment.Set("AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + configuration.name);
  environment.Set(kLogStreamVariable + log_stream_);
  environment.Set(std::string("AWS_LAMBDA_INITIALIZATION_TYPE=") + (for_snapshot ? "snap-start" : "on-demand"));
  environment.Set("LAMBDA_RUNTIME_DIR=/usr/lib/snapfaas");
  // The last has what debian-packages.txt names.
  environment.Set("LD_LIBRARY_PATH=" + folder + ":" + folder + "/lib:" + folder + "/package/usr/lib/x86_64-linux-gnu");
  for (const std::string& variable : configuration.environment) environment.Set(variable);

  std::string program = folder + "/" + kProgram;
  struct stat status {};
  if (::stat(program.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return NoEntrypoint(program);

  char* const arguments[] = {program.data(), nullptr};
  const std::vector<char*> variables = environment.Pointers();
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t signals;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  ::posix_spawnattr_init(&attributes);
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  // No copy of our memory is made: it forks as vfork does.
  const int error = ::posix_spawn(&pid_, program.c_str(), &actions, &attributes, arguments, variables.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return CannotExecute(program, error);
  // glibc 2.36 declares pidfd_open for C only. Closed on exec.
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) return InitError(std::string("pidfd_open: ") + std::strerror(errno));
  return {};
}

void FunctionProcess::PrepareSnapshot() {
  FindLogStreamName();
  // The agent does the same for its own child, which is not the function.
  MapFilesOf(pid_);
}

void FunctionProcess::FindLogStreamName() {
  uintptr_t start = 0;
  uintptr_t end = 0;
  if (!FindEnvironment(pid_, start, end)) return;
  constexpr size_t kMostLookedAt = size_t{64} << 10;
  std::string text(std::min<size_t>(end - start, kMostLookedAt), '\0');
  const iovec local = LocalPiece(text.data(), text.size());
  const iovec remote = RemotePiece(start, text.size());
  if (::process_vm_readv(pid_, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(text.size())) return;
  const size_t found = text.find(kLogStreamVariable + log_stream_ + '\0');
  if (found != std::string::npos) log_stream_address_ = start + found + std::strlen(kLogStreamVariable);
}

void FunctionProcess::TakeIdentity() const {
  if (log_stream_address_ == 0) return;
  const std::string name = MakeLogStreamName(version_);
  std::string present(log_stream_.size(), '\0');
  const iovec remote = RemotePiece(log_stream_address_, present.size());
  const iovec read = LocalPiece(present.data(), present.size());
  if (::process_vm_readv(pid_, &read, 1, &remote, 1, 0) < 0 || present != log_stream_) return;
  if (name.size() != present.size()) return;
  const iovec local = LocalPiece(name.data(), name.size());
  // Where the function has gone meanwhile there is nobody to read it.
  (void)!::process_vm_writev(pid_, &local, 1, &remote, 1, 0);
}

void FunctionProcess::EndLikeIt() const {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    ::signal(WTERMSIG(status), SIG_DFL);
    ::kill(::getpid(), WTERMSIG(status));
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

}  // namespace snapfaas::guest::native
