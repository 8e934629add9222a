#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace snapfaas {
namespace {

ErrorCode CodeOfErrno(int os_errno) {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return ErrorCode::kResourceExhausted;
    case ETIMEDOUT:
      return ErrorCode::kTimedOut;
    default:
      return ErrorCode::kSystem;
  }
}

}  // namespace

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid-argument";
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kAlreadyExists:
      return "already-exists";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kIncompatible:
      return "incompatible";
    case ErrorCode::kPermissionDenied:
      return "permission-denied";
    case ErrorCode::kResourceExhausted:
      return "resource-exhausted";
    case ErrorCode::kTimedOut:
      return "timed-out";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kGuestError:
      return "guest-error";
    case ErrorCode::kSystem:
      return "system";
  }
  return "unknown";
}

std::string Error::Message() const {
  if (os_errno == 0) return context;
  return fmt::format("{}: {}", context, strerror(os_errno));
}

tl::unexpected<Error> FailErrnoText(int os_errno, std::string context) {
  return tl::unexpected<Error>(Error{CodeOfErrno(os_errno), os_errno, std::move(context)});
}

}  // namespace snapfaas
