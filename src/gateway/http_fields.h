// What the server must know of the fields of HTTP messages.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

namespace snapfaas::gateway {

// Names of fields are the same whatever their case.
bool IsSameName(std::string_view a, std::string_view b);

// Whether a handler's field may go into an answer: it is one that HTTP allows, and none of the server's own.
bool MaySendField(std::string_view name, std::string_view value);

// RFC 9110, section 5.6.7, e.g. "Sun, 06 Nov 1994 08:49:37 GMT".
std::string HttpDate(time_t time);

}  // namespace snapfaas::gateway
