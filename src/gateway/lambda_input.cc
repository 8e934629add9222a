#include "gateway/lambda_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace snapfaas::gateway {
namespace {

// Lambda's messages spell members with a small letter.
std::string Spelled(const char* member) {
  std::string name = member;
  name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return name;
}

}  // namespace

LambdaResult<LambdaInput> LambdaInput::Parse(std::string_view body) {
  auto request = std::make_shared<Request>();
  auto& json = request->json;
  json = body.empty() ? Json::object() : Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return tl::unexpected(InvalidRequestContent("Could not parse request body into json: it is not JSON"));
  }
  if (!json.is_object()) {
    return tl::unexpected(InvalidRequestContent("Could not parse request body into json: it is not an object"));
  }
  return LambdaInput(request, &json);
}

const Json* LambdaInput::Find(const char* member) const {
  if (request_->error) return nullptr;
  const auto found = json_->find(member);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

bool LambdaInput::Has(const char* member) const { return Find(member) != nullptr; }

void LambdaInput::Fail(LambdaError error) {
  if (!request_->error) request_->error = std::move(error);
}

void LambdaInput::WrongType(const char* member, const char* expected) {
  Fail(InvalidRequestContent(fmt::format("Could not parse request body into json: {} must be {}", member, expected)));
}

void LambdaInput::Require(const char* member) {
  if (!request_->error && !Has(member)) Fail(MemberMissing(Spelled(member)));
}

std::optional<std::string> LambdaInput::String(const char* member, const Text& constraints) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  if (!json->is_string()) {
    WrongType(member, "a string");
    return std::nullopt;
  }
  const auto& text = json->get_ref<const std::string&>();
  std::string violated;
  if (text.size() < constraints.min) {
    violated = fmt::format("Member must have length greater than or equal to {}", constraints.min);
  } else if (text.size() > constraints.max) {
    violated = fmt::format("Member must have length less than or equal to {}", constraints.max);
  } else if (constraints.is_good != nullptr && !constraints.is_good(text)) {
    violated = fmt::format("Member must satisfy regular expression pattern: {}", constraints.pattern);
  }
  if (violated.empty()) return text;
  Fail(ConstraintViolated(text, Spelled(member), violated));
  return std::nullopt;
}

std::optional<std::string_view> LambdaInput::LargeString(const char* member) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  if (json->is_string()) return json->get_ref<const std::string&>();
  WrongType(member, "a string");
  return std::nullopt;
}

std::optional<std::string> LambdaInput::OneOf(const char* member, const std::vector<std::string>& values) {
  auto text = String(member);
  if (!text || std::find(values.begin(), values.end(), *text) != values.end()) return text;
  Fail(ConstraintViolated(*text, Spelled(member),
                          fmt::format("Member must satisfy enum value set: [{}]", fmt::join(values, ", "))));
  return std::nullopt;
}

std::optional<uint32_t> LambdaInput::Number(const char* member, uint32_t min, uint32_t max) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  if (!json->is_number_integer()) {
    WrongType(member, "a whole number");
    return std::nullopt;
  }
  const bool is_huge = json->is_number_unsigned() && json->get<uint64_t>() > INT64_MAX;
  const int64_t number = is_huge ? INT64_MAX : json->get<int64_t>();
  if (number >= min && number <= max) return static_cast<uint32_t>(number);
  Fail(ConstraintViolated(json->dump(), Spelled(member),
                          number < min ? fmt::format("Member must have value greater than or equal to {}", min)
                                       : fmt::format("Member must have value less than or equal to {}", max)));
  return std::nullopt;
}

std::optional<bool> LambdaInput::Bool(const char* member) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  if (json->is_boolean()) return json->get<bool>();
  WrongType(member, "true or false");
  return std::nullopt;
}

std::optional<std::vector<std::string>> LambdaInput::Strings(const char* member) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  const auto is_string = [](const Json& one) { return one.is_string(); };
  if (json->is_array() && std::all_of(json->begin(), json->end(), is_string)) {
    return json->get<std::vector<std::string>>();
  }
  WrongType(member, "a list of strings");
  return std::nullopt;
}

std::optional<std::map<std::string, std::string>> LambdaInput::StringMap(const char* member) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  const auto is_string = [](const Json& one) { return one.is_string(); };
  if (json->is_object() && std::all_of(json->begin(), json->end(), is_string)) {
    return json->get<std::map<std::string, std::string>>();
  }
  WrongType(member, "an object whose members are strings");
  return std::nullopt;
}

std::optional<std::map<std::string, double>> LambdaInput::NumberMap(const char* member, double min, double max) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  const auto is_number = [](const Json& one) { return one.is_number(); };
  if (!json->is_object() || !std::all_of(json->begin(), json->end(), is_number)) {
    WrongType(member, "an object whose members are numbers");
    return std::nullopt;
  }
  auto numbers = json->get<std::map<std::string, double>>();
  for (const auto& [key, number] : numbers) {
    if (number >= min && number <= max) continue;
    Fail(ConstraintViolated(fmt::format("{{{}={}}}", key, number), Spelled(member),
                            fmt::format("Map value must satisfy constraint: [Member must have value less than or equal "
                                        "to {}, Member must have value greater than or equal to {}]",
                                        max, min)));
    return std::nullopt;
  }
  return numbers;
}

std::optional<LambdaInput> LambdaInput::Object(const char* member) {
  const Json* json = Find(member);
  if (json == nullptr) return std::nullopt;
  if (json->is_object()) return LambdaInput(request_, json);
  WrongType(member, "an object");
  return std::nullopt;
}

}  // namespace snapfaas::gateway
