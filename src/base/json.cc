#include "base/json.h"

template class nlohmann::basic_json<>;
template class nlohmann::detail::serializer<nlohmann::json>;
template class nlohmann::detail::lexer<nlohmann::json, snapfaas::json_parts::StringInput>;
template class nlohmann::detail::lexer<nlohmann::json, snapfaas::json_parts::ViewInput>;
template class nlohmann::detail::parser<nlohmann::json, snapfaas::json_parts::StringInput>;
template class nlohmann::detail::parser<nlohmann::json, snapfaas::json_parts::ViewInput>;
