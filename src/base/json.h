// JSON by nlohmann's library, its templates compiled once: left to themselves, they are most of what a file that uses
// them takes to compile.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace snapfaas::json_parts {
template <typename Text>
using InputOf = decltype(nlohmann::detail::input_adapter(std::declval<const Text&>()));
using StringInput = InputOf<std::string>;
using ViewInput = InputOf<std::string_view>;
}  // namespace snapfaas::json_parts

namespace snapfaas {
using Json = nlohmann::json;
// Members in the order in which they were put in.
using OrderedJson = nlohmann::ordered_json;
}  // namespace snapfaas

extern template class nlohmann::basic_json<>;
extern template class nlohmann::detail::serializer<nlohmann::json>;
extern template class nlohmann::detail::lexer<nlohmann::json, snapfaas::json_parts::StringInput>;
extern template class nlohmann::detail::lexer<nlohmann::json, snapfaas::json_parts::ViewInput>;
extern template class nlohmann::detail::parser<nlohmann::json, snapfaas::json_parts::StringInput>;
extern template class nlohmann::detail::parser<nlohmann::json, snapfaas::json_parts::ViewInput>;
