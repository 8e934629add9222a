// Result<T>: how every function of this project that can fail for a reason its caller may handle says so.
//
// An Error carries a kind (what the caller can decide on), the operating system's errno where there was one, and a
// context sentence that names the thing that failed and, where known, the mend. Exceptions stay inside the libraries
// that throw them.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace snapfaas {

enum class ErrorCode {
  kInvalidArgument,    // the caller's request makes no sense
  kNotFound,           // a named thing is not there
  kAlreadyExists,      // a named thing is there already
  kCorrupt,            // bytes that cannot be what they claim to be
  kIncompatible,       // intact, but of another version, CPU, size or device set
  kPermissionDenied,   // the operating system said no
  kResourceExhausted,  // disk, memory, descriptors
  kTimedOut,           // a deadline passed
  kUnavailable,        // what is needed is not working here (no usable KVM, a process that ended)
  kGuestError,         // the guest misbehaved: it can only hurt itself
  kSystem,             // any other failure of a system call or program
};

// The stable lower-case name of a code, e.g. "corrupt"; used in messages and JSON.
std::string_view ErrorCodeName(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kSystem;
  int os_errno = 0;     // 0 where no system call was at fault
  std::string context;  // a sentence for a person, without a final full stop

  // "context: strerror" as shown to a user.
  std::string Message() const;
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

// Fail(code, "format {}", args...) makes the error side of any Result.
template <typename... Args>
tl::unexpected<Error> Fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, 0, fmt::format(format, std::forward<Args>(args)...)});
}

// As Fail, for a failed system call: takes the errno, and derives the code from it.
tl::unexpected<Error> FailErrnoText(int os_errno, std::string context);

template <typename... Args>
tl::unexpected<Error> FailErrno(int os_errno, fmt::format_string<Args...> format, Args&&... args) {
  return FailErrnoText(os_errno, fmt::format(format, std::forward<Args>(args)...));
}

// Passes an error on from a Result of another type.
inline tl::unexpected<Error> Forward(Error error) { return tl::unexpected<Error>(std::move(error)); }

// As above, putting "context: " before it.
inline tl::unexpected<Error> Forward(Error error, std::string_view context) {
  error.context = fmt::format("{}: {}", context, error.context);
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace snapfaas
