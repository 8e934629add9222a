// The OpenAPI description of the native API: openapi.json, built in.
#pragma once

#include <string_view>

namespace snapfaas::gateway {

std::string_view OpenApiDocument();

}  // namespace snapfaas::gateway
