#include "faas/console_log.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include "wire/guest_abi.h"

namespace snapfaas::faas {
namespace {

constexpr size_t kMaxLine = 200;
constexpr std::string_view kPanicText = "Kernel panic - not syncing: ";
constexpr std::string_view kAgentPrefix = "snapfaas-agent: ";

// A guest writes what it likes; what reaches a user's terminal is printable.
std::string Printable(std::string_view line) {
  std::string text;
  for (const char c : line.substr(0, kMaxLine)) {
    if (c >= ' ' && c <= '~') text.push_back(c);
  }
  return text;
}

// "[    1.234567] text" without its time stamp.
std::string_view WithoutStamp(std::string_view line) {
  const size_t close = line.find("] ");
  return line.starts_with('[') && close != std::string_view::npos ? line.substr(close + 2) : line;
}

}  // namespace

Result<ConsoleLog> ConsoleLog::Create() {
  UniqueFd file(::memfd_create("snapfaas-console", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return FailErrno(errno, "making a file for the guest's console");
  // Holes take no memory, and a sealed size is a bound that needs no one to watch it.
  if (::ftruncate(file.get(), kMaxBytes) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return FailErrno(errno, "bounding the file for the guest's console");
  }
  return ConsoleLog(std::move(file));
}

Result<UniqueFd> ConsoleLog::Writer() const {
  UniqueFd writer(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!writer.valid()) return FailErrno(errno, "duplicating the guest's console");
  return writer;
}

std::string ConsoleLog::Text() const {
  std::string text(kMaxBytes, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::pread(file_.get(), text.data() + size, text.size() - size, static_cast<off_t>(size));
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  const size_t last = text.find_last_not_of('\0');
  text.resize(last == std::string::npos ? 0 : last + 1);
  return text;
}

std::string ConsoleLog::LastLine() const {
  const std::string text = Text();
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t newline = rest.find_last_of("\r\n");
    const auto line = Printable(newline == std::string_view::npos ? rest : rest.substr(newline + 1));
    if (line.find_first_not_of(' ') != std::string::npos) return std::string(WithoutStamp(line));
    rest = newline == std::string_view::npos ? std::string_view() : rest.substr(0, newline);
  }
  return {};
}

std::string ConsoleLog::LineAfter(std::string_view mark) const {
  const std::string text = Text();
  const size_t found = text.rfind(mark);
  if (found == std::string::npos) return {};
  const auto rest = std::string_view(text).substr(found + mark.size());
  return Printable(rest.substr(0, rest.find_first_of("\r\n")));
}

std::string ConsoleLog::PanicLine() const { return LineAfter(kPanicText); }

std::string ConsoleLog::RuntimeExitLine() const {
  const std::string how = LineAfter(std::string(kAgentPrefix) + wire::kRuntimeExited);
  return how.empty() ? std::string() : wire::kRuntimeExited + how;
}

}  // namespace snapfaas::faas
