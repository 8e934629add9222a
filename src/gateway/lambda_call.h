// What an operation of LambdaApi gets and answers.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "gateway/function_name.h"
#include "gateway/http_message.h"
#include "gateway/lambda_error.h"
#include "gateway/lambda_input.h"
#include "http/url.h"
#include "registry/registry.h"

namespace snapfaas::gateway {

struct LambdaCall {
  FunctionName function;  // of the path, with the query's Qualifier; empty where the path has none
  std::string name;       // what follows in the path: an alias, a statement's id
  http::QueryPairs query;
  LambdaInput input;

  std::optional<std::string> Query(std::string_view key) const { return http::FindQuery(query, key); }
};

struct LambdaAnswer {
  LambdaAnswer(int answer_status, nlohmann::json answer_json) : status(answer_status), json(std::move(answer_json)) {}
  explicit LambdaAnswer(std::string zip_bytes) : status(200), zip(std::move(zip_bytes)) {}

  int status;
  nlohmann::json json;  // null: no body
  std::string zip;      // instead of JSON
};

inline LambdaAnswer NoContent() { return {204, nullptr}; }

// At most 50, of bounded length.
std::optional<LambdaError> CheckTags(const registry::Registry::Tags& tags);

// Marker and MaxItems of a list. No more than 50 items are answered at a time, however many are asked for, as with
// Lambda; a MaxItems beyond `max_items` is refused.
LambdaResult<registry::Page> PageOf(const LambdaCall& call, uint32_t max_items = 10000);

std::string MarkerOf(const std::string& next);

// `{member: [items], "NextMarker": ...}`
template <typename T, typename ToJson>
nlohmann::json ListAnswer(const char* member, const registry::Listed<T>& listed, const ToJson& to_json) {
  nlohmann::json items = nlohmann::json::array();
  for (const auto& item : listed.items) items.push_back(to_json(item));
  nlohmann::json answer = {{member, std::move(items)}};
  if (!listed.next.empty()) answer["NextMarker"] = MarkerOf(listed.next);
  return answer;
}

}  // namespace snapfaas::gateway
