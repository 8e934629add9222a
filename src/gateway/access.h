// Who may speak to the gateway.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "gateway/http_message.h"
#include "http/sigv4.h"

namespace snapfaas::gateway {

class AccessControl {
 public:
  explicit AccessControl(std::optional<http::Credentials> credentials) : credentials_(std::move(credentials)) {}

  // Why the request is refused, in AWS's words; empty: it is not.
  std::optional<http::SignatureRefusal> Check(const HttpRequest& request, int64_t now_unix_seconds) const;

  // The access key that the request is signed with; empty when it is not, or when there are no credentials.
  std::optional<std::string> Signer(const HttpRequest& request, int64_t now_unix_seconds) const;

 private:
  const std::optional<http::Credentials> credentials_;
};

}  // namespace snapfaas::gateway
