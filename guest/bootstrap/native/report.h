// Error reports: the one shape that the host knows (docs/guest_contract.md), made of what a function says of its
// failures in whatever shape.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace snapfaas::guest::native {

// Discarded if `text` is not JSON. What lies deeper than `max_depth` levels is left out, so that no function can make
// us build a tower.
nlohmann::json ParseJson(std::string_view text, int max_depth);

std::string MakeReport(std::string_view type, std::string_view message, std::string_view request_id);

// Of the body that a function has posted as an error. `type_from_header` counts where the body names no type.
std::string ReportOfBody(std::string_view body, std::string_view type_from_header, std::string_view request_id);

// Empty when it is not base64.
std::string DecodeBase64(std::string_view text);

// A streamed answer to an HTTP request (a JSON prelude with status and headers, eight zero bytes, the body) as the
// object that such an answer is when it is not streamed. Empty when it has no prelude.
std::string CollectHttpResponse(std::string_view stream);

}  // namespace snapfaas::guest::native
