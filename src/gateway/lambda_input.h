// LambdaInput: reads the members of a request's body and checks them against the constraints of Lambda's service model.
//
// The first violation is kept and every read after it yields nothing, so that a handler reads all its members and asks
// error() once. Members that are null count as absent; members that nobody reads are ignored.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "gateway/lambda_error.h"

namespace snapfaas::gateway {

class LambdaInput {
 public:
  // InvalidRequestContentException when `body` is no JSON object; an empty one is {}.
  static LambdaResult<LambdaInput> Parse(std::string_view body);

  const std::optional<LambdaError>& error() const { return request_->error; }

  bool Has(const char* member) const;

  // All below: nothing when the member is absent.

  struct Text {
    size_t min = 0;
    size_t max = SIZE_MAX;
    bool (*is_good)(std::string_view text) = nullptr;
    const char* pattern = "";  // what `is_good` looks for, for the message
  };
  std::optional<std::string> String(const char* member, const Text& constraints);
  std::optional<std::string> String(const char* member) { return String(member, Text{}); }
  // A string that may be large; lives as long as this.
  std::optional<std::string_view> LargeString(const char* member);
  std::optional<std::string> OneOf(const char* member, const std::vector<std::string>& values);
  std::optional<uint32_t> Number(const char* member, uint32_t min, uint32_t max);
  std::optional<bool> Bool(const char* member);
  std::optional<std::vector<std::string>> Strings(const char* member);
  std::optional<std::map<std::string, std::string>> StringMap(const char* member);
  std::optional<std::map<std::string, double>> NumberMap(const char* member, double min, double max);
  // A structure; shares its errors with this one.
  std::optional<LambdaInput> Object(const char* member);

  // "Value null at 'member' ...: Member must not be null".
  void Require(const char* member);
  void Fail(LambdaError error);

 private:
  // Shared with the structures within.
  struct Request {
    nlohmann::json json;
    std::optional<LambdaError> error;
  };

  LambdaInput(std::shared_ptr<Request> request, const nlohmann::json* json)
      : request_(std::move(request)), json_(json) {}

  const nlohmann::json* Find(const char* member) const;
  void WrongType(const char* member, const char* expected);

  std::shared_ptr<Request> request_;
  const nlohmann::json* json_;  // within the request's
};

}  // namespace snapfaas::gateway
