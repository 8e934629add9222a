#include "gateway/lambda_error.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace snapfaas::gateway {
namespace {

std::string TypeOf(const HttpResponse& response) {
  return std::string(FindField(response.headers, "X-Amzn-ErrorType").value_or(""));
}

TEST(LambdaError, BodiesHaveLambdasShapes) {
  const auto invalid = ToResponse(InvalidParameterValue("no"));
  EXPECT_EQ(invalid.status, 400);
  EXPECT_EQ(TypeOf(invalid), "InvalidParameterValueException");
  EXPECT_EQ(Json::parse(invalid.body), Json({{"Type", "User"}, {"message", "no"}}));

  const auto missing = ToResponse(ResourceNotFound("gone"));
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(Json::parse(missing.body), Json({{"Type", "User"}, {"Message", "gone"}}));

  const auto validation = ToResponse(ConstraintViolated("9", "timeout", "Member must be less"));
  EXPECT_EQ(validation.status, 400);
  EXPECT_EQ(TypeOf(validation), "ValidationException");
  EXPECT_EQ(
      Json::parse(validation.body),
      Json(
          {{"message",
            "1 validation error detected: Value '9' at 'timeout' failed to satisfy constraint: Member must be less"}}));

  const auto throttled = ToResponse(TooManyRequests("ReservedFunctionConcurrentInvocationLimitExceeded"));
  EXPECT_EQ(throttled.status, 429);
  EXPECT_EQ(Json::parse(throttled.body), Json({{"Type", "User"},
                                               {"message", "Rate Exceeded."},
                                               {"Reason", "ReservedFunctionConcurrentInvocationLimitExceeded"}}));

  EXPECT_EQ(Json::parse(ToResponse(ServiceFailure("disk")).body)["Type"], "Service");
}

TEST(LambdaError, ErrorsOfTheNodeGetAStatus) {
  EXPECT_EQ(FromError({ErrorCode::kNotFound, 0, "x"}).status, 404);
  EXPECT_EQ(FromError({ErrorCode::kInvalidArgument, 0, "x"}).status, 400);
  EXPECT_EQ(FromError({ErrorCode::kAlreadyExists, 0, "x"}).status, 409);
  EXPECT_EQ(FromError({ErrorCode::kResourceExhausted, 0, "x"}).status, 500);
}

TEST(LambdaError, MessagesNeedNotBeUtf8) { EXPECT_EQ(ToResponse(InvalidParameterValue("\xff")).status, 400); }

}  // namespace
}  // namespace snapfaas::gateway
