// What Lambda's API says about functions, as JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "gateway/function_name.h"
#include "registry/function.h"
#include "registry/runtimes.h"

namespace snapfaas::gateway {

// Whether microVMs of the version are restored from a snapshot of its own, which is taken after it is active.
enum class OwnSnapshot { kNone, kInUse };

// FunctionConfiguration. `qualifier` is what its ARN ends with; empty: nothing. Beyond Lambda it has "SnapFaaS":
// {"Isolation": "Reuse" or "Reset", "Runtime": the runtime that it really runs on}.
nlohmann::json ConfigurationAnswer(const registry::FunctionVersion& version, const LambdaPlace& place,
                                   std::string_view qualifier, OwnSnapshot snapshot,
                                   const registry::Runtimes& runtimes);
nlohmann::json AliasAnswer(const registry::Alias& alias, const LambdaPlace& place);
nlohmann::json EventInvokeConfigAnswer(const registry::EventInvokeConfig& config, const LambdaPlace& place);
// Without LastModifiedTime, which only some operations answer. `url_template`: its "{id}" is replaced.
nlohmann::json FunctionUrlAnswer(const registry::FunctionUrl& url, const LambdaPlace& place,
                                 const std::string& url_template);

// 2026-11-25T23:32:05.123+0000, as LastModified has it.
std::string LastModifiedText(int64_t unix_ms);
// 2026-11-25T23:32:05.123Z, as function URLs have it.
std::string Iso8601Text(int64_t unix_ms);

}  // namespace snapfaas::gateway
