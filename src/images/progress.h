// Progress: how the image builders, which may work for minutes, tell a person what they are doing.
#pragma once

#include <functional>
#include <string_view>

namespace snapfaas::images {

// Called with one line of text, without a newline, from the thread that called the builder. May be empty (silent).
using Progress = std::function<void(std::string_view line)>;

}  // namespace snapfaas::images
