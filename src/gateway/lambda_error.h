// LambdaError: a refusal as AWS Lambda words it: status, x-amzn-ErrorType and body.
//
//   {"Type":"User","message":"..."}     most of them
//   {"Type":"User","Message":"..."}     ResourceNotFoundException
//   {"message":"..."}                   ValidationException
//   {"Type":"User","message":"Rate Exceeded.","Reason":"..."}   TooManyRequestsException
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/result.h"
#include "gateway/http_message.h"

namespace snapfaas::gateway {

struct LambdaError {
  int status = 500;
  std::string code;  // e.g. ResourceNotFoundException
  std::string message;
  std::string reason;  // of TooManyRequestsException
};

template <typename T>
using LambdaResult = tl::expected<T, LambdaError>;

LambdaError InvalidParameterValue(std::string message);  // 400
LambdaError InvalidRequestContent(std::string message);  // 400
LambdaError ResourceNotFound(std::string message);       // 404
LambdaError ResourceConflict(std::string message);       // 409
LambdaError PreconditionFailed(std::string message);     // 412
LambdaError RequestTooLarge(std::string message);        // 413
LambdaError UnsupportedMediaType(std::string message);   // 415
LambdaError TooManyRequests(std::string reason);         // 429, "Rate Exceeded."
LambdaError AccessDenied(std::string message);           // 403
LambdaError ServiceFailure(std::string message);         // 500 ServiceException: clients try again
LambdaError ServiceUnavailable(std::string message);     // 503, the same

// ValidationException: "1 validation error detected: Value 'VALUE' at 'MEMBER' failed to satisfy constraint:
// CONSTRAINT".
LambdaError ConstraintViolated(std::string_view value, std::string_view member, std::string_view constraint);

// The same, of a member that is not there: "Value null at 'MEMBER' ...: Member must not be null".
LambdaError MemberMissing(std::string_view member);

// What of the registry and the node's parts comes up to the client. kNotFound: ResourceNotFoundException;
// kInvalidArgument, kCorrupt: InvalidParameterValueException; kAlreadyExists: ResourceConflictException;
// anything else is our failure.
LambdaError FromError(const Error& error);

HttpResponse ToResponse(const LambdaError& error);

}  // namespace snapfaas::gateway
