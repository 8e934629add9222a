#include "images/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace snapfaas::images {
namespace {

constexpr size_t kMaxOutput = size_t{1} << 20;
constexpr size_t kShownLines = 12;

// execvp(3) in the child reports its errno through this status; no program of ours uses it.
constexpr int kNotStarted = 127;

std::string LastLines(std::string_view output) {
  while (output.ends_with('\n')) output.remove_suffix(1);
  size_t start = output.size();
  for (size_t lines = 0; lines < kShownLines && start != std::string_view::npos; ++lines) {
    start = start == 0 ? std::string_view::npos : output.rfind('\n', start - 1);
  }
  return std::string(start == std::string_view::npos ? output : output.substr(start + 1));
}

[[noreturn]] void RunChild(const std::vector<char*>& arguments, const ProgramOptions& options, int output,
                           pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(kNotStarted);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  // mmdebstrap names descriptors in shell commands, and dash takes numbers of one digit: what our caller has left open
  // would push them beyond.
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(kNotStarted);
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  ::execvp(arguments[0], arguments.data());
  ::_exit(kNotStarted);
}

// Collects the output, line by line, until the program has closed it.
class OutputCollector {
 public:
  explicit OutputCollector(const ProgramOptions& options) : options_(options) {}

  void Read(int fd) {
    char buffer[8192];
    for (;;) {
      const ssize_t got = ::read(fd, buffer, sizeof(buffer));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      Append({buffer, static_cast<size_t>(got)});
    }
    if (options_.on_line && line_start_ < output_.size())
      options_.on_line(std::string_view(output_).substr(line_start_));
  }

  std::string Take() { return std::move(output_); }

 private:
  void Append(std::string_view bytes) {
    output_.append(bytes);
    for (size_t end; options_.on_line && (end = output_.find('\n', line_start_)) != std::string::npos;) {
      options_.on_line(std::string_view(output_).substr(line_start_, end - line_start_));
      line_start_ = end + 1;
    }
    if (output_.size() <= kMaxOutput) return;
    const size_t excess = output_.size() - kMaxOutput;
    output_.erase(0, excess);
    line_start_ = line_start_ > excess ? line_start_ - excess : 0;
  }

  const ProgramOptions& options_;
  std::string output_;
  size_t line_start_ = 0;
};

std::string FindInPath(const std::string& program) {
  if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0 ? program : "";
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
  // Administrators' programs (depmod, mkfs.erofs) are not on an ordinary user's PATH.
  const std::string all = std::string(rest) + ":/usr/sbin:/sbin";
  rest = all;
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return "";
}

}  // namespace

Result<std::string> RunProgram(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  const std::string program = FindInPath(arguments.front());
  if (program.empty()) {
    return Fail(ErrorCode::kUnavailable, "the program {} is not installed; './dev setup' installs it",
                arguments.front());
  }
  std::vector<char*> raw{const_cast<char*>(program.c_str())};
  for (size_t i = 1; i < arguments.size(); ++i) raw.push_back(const_cast<char*>(arguments[i].c_str()));
  raw.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno(errno, "cannot make a pipe for {}", arguments.front());
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "cannot start {}", arguments.front());
  if (child == 0) RunChild(raw, options, write_end.get(), parent);
  write_end.Reset();

  OutputCollector collector(options);
  collector.Read(read_end.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::string output = collector.Take();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  const std::string how = WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                                              : fmt::format("failed with status {}", WEXITSTATUS(status));
  return Fail(ErrorCode::kSystem, "{} {}:\n{}", arguments.front(), how, LastLines(output));
}

}  // namespace snapfaas::images
