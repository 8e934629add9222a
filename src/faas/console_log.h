// ConsoleLog: what a guest writes to its serial console, kept in memory and bounded, for error messages.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas::faas {

class ConsoleLog {
 public:
  // The file cannot grow beyond this: what a guest writes after it is lost.
  static constexpr size_t kMaxBytes = 256 * 1024;

  static Result<ConsoleLog> Create();

  // A descriptor for the VMM to write to.
  Result<UniqueFd> Writer() const;

  // The last line with anything on it, bounded and without control characters; empty when nothing was written.
  std::string LastLine() const;

  // What a panicking kernel said: "Attempted to kill init! exitcode=0x00000100"; empty when it did not panic.
  std::string PanicLine() const;

  // What the agent said when the language bootstrap had ended: "Runtime exited with error: exit status 1"; empty when
  // it said nothing. The guest may write what it likes: it is for a person, and about this guest alone.
  std::string RuntimeExitLine() const;

 private:
  explicit ConsoleLog(UniqueFd file) : file_(std::move(file)) {}
  std::string Text() const;
  // The rest of the line that `mark` stands in, without it; empty where there is none.
  std::string LineAfter(std::string_view mark) const;

  UniqueFd file_;
};

}  // namespace snapfaas::faas
