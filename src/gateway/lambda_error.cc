#include "gateway/lambda_error.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"

namespace snapfaas::gateway {

LambdaError InvalidParameterValue(std::string message) {
  return {400, "InvalidParameterValueException", std::move(message), ""};
}
LambdaError InvalidRequestContent(std::string message) {
  return {400, "InvalidRequestContentException", std::move(message), ""};
}
LambdaError ResourceNotFound(std::string message) { return {404, "ResourceNotFoundException", std::move(message), ""}; }
LambdaError ResourceConflict(std::string message) { return {409, "ResourceConflictException", std::move(message), ""}; }
LambdaError PreconditionFailed(std::string message) {
  return {412, "PreconditionFailedException", std::move(message), ""};
}
LambdaError RequestTooLarge(std::string message) { return {413, "RequestTooLargeException", std::move(message), ""}; }
LambdaError UnsupportedMediaType(std::string message) {
  return {415, "UnsupportedMediaTypeException", std::move(message), ""};
}
LambdaError TooManyRequests(std::string reason) {
  return {429, "TooManyRequestsException", "Rate Exceeded.", std::move(reason)};
}
LambdaError AccessDenied(std::string message) { return {403, "AccessDeniedException", std::move(message), ""}; }
LambdaError ServiceFailure(std::string message) { return {500, "ServiceException", std::move(message), ""}; }
LambdaError ServiceUnavailable(std::string message) { return {503, "ServiceException", std::move(message), ""}; }

LambdaError ConstraintViolated(std::string_view value, std::string_view member, std::string_view constraint) {
  return {400, "ValidationException",
          fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: {}", value, member,
                      constraint),
          ""};
}

LambdaError MemberMissing(std::string_view member) {
  return {
      400, "ValidationException",
      fmt::format("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be "
                  "null",
                  member),
      ""};
}

LambdaError FromError(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
      return ResourceNotFound(error.Message());
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorrupt:
      return InvalidParameterValue(error.Message());
    case ErrorCode::kAlreadyExists:
      return ResourceConflict(error.Message());
    default:
      return ServiceFailure(error.Message());
  }
}

HttpResponse ToResponse(const LambdaError& error) {
  nlohmann::json body;
  if (error.code != "ValidationException") body["Type"] = error.status >= 500 ? "Service" : "User";
  const bool capital = error.code == "ResourceNotFoundException" || error.code == "AccessDeniedException";
  body[capital ? "Message" : "message"] = error.message;
  if (!error.reason.empty()) body["Reason"] = error.reason;
  HttpResponse response;
  response.status = error.status;
  response.headers = {{"Content-Type", "application/json"}, {"x-amzn-ErrorType", error.code}};
  // A name that is no UTF-8 may be quoted in the message.
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

}  // namespace snapfaas::gateway
