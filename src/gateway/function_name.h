// FunctionName: what clients may write for a function in a path or an ARN member:
//
//   thumbnails                                                     its name
//   thumbnails:live                                                with a version or an alias
//   000000000000:function:thumbnails                               a partial ARN
//   arn:aws:lambda:us-east-1:000000000000:function:thumbnails:3    an ARN
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/lambda_error.h"

namespace snapfaas::gateway {

// Whose functions the node's are said to be.
struct LambdaPlace {
  std::string region = "us-east-1";
  std::string account = "000000000000";
};

struct FunctionName {
  std::string name;
  std::string qualifier;  // a version, "$LATEST" or an alias; empty: none was given
};

// `text` is decoded. ResourceNotFoundException for another region, AccessDeniedException for another account.
LambdaResult<FunctionName> ParseFunctionName(std::string_view text, const LambdaPlace& place);

// As above, together with the request's Qualifier, which must not contradict.
LambdaResult<FunctionName> ParseFunctionName(std::string_view text, const std::optional<std::string>& qualifier,
                                             const LambdaPlace& place);

// Whether `name` may be that of a function: letters, digits, "-" and "_", at most 64.
bool IsFunctionName(std::string_view name);
// A version's number, "$LATEST" or the name of an alias.
bool IsQualifier(std::string_view qualifier);
bool IsVersionNumber(std::string_view qualifier);

// Without a final qualifier where it is empty.
std::string FunctionArn(const LambdaPlace& place, std::string_view name, std::string_view qualifier = {});

// "Function not found: ARN".
LambdaError FunctionNotFound(const LambdaPlace& place, const FunctionName& function);

}  // namespace snapfaas::gateway
