#include "gateway/access.h"

#include <algorithm>

#include <string_view>

#include "gateway/http_server.h"
#include "http/canonical_request.h"

namespace snapfaas::gateway {
namespace {

constexpr const char* kService = "lambda";

http::SignableRequest Signable(const HttpRequest& request) {
  return {request.method, request.path, request.query, request.headers, request.body};
}

// "127.0.0.1:80", "[::1]:80", "localhost", "x.localhost:80": names that no foreign name server can give to us.
bool IsOurName(std::string_view host) {
  std::string_view name = host.substr(0, host.rfind(':'));
  if (host.starts_with('[')) name = host.substr(1, std::min(host.find(']'), host.size()) - 1);
  const std::string lower = http::ToLower(name);
  return lower.empty() || lower == "localhost" || lower.ends_with(".localhost") || IsLoopback(lower).has_value();
}

}  // namespace

std::optional<http::SignatureRefusal> AccessControl::Check(const HttpRequest& request, int64_t now_unix_seconds) const {
  if (credentials_) return http::VerifyRequest(*credentials_, kService, now_unix_seconds, Signable(request));
  if (FindField(request.headers, "Origin")) {
    return http::SignatureRefusal{"AccessDeniedException",
                                  "This node has no credentials and takes no requests from web pages: leave out the "
                                  "Origin header, or use a function URL"};
  }
  if (!IsOurName(FindField(request.headers, "Host").value_or(""))) {
    return http::SignatureRefusal{"AccessDeniedException",
                                  "This node has no credentials and answers only to 'localhost' and to IP addresses: "
                                  "call it by one, or configure credentials"};
  }
  return std::nullopt;
}

std::optional<std::string> AccessControl::Signer(const HttpRequest& request, int64_t now_unix_seconds) const {
  if (!credentials_) return std::nullopt;
  if (http::VerifyRequest(*credentials_, kService, now_unix_seconds, Signable(request))) return std::nullopt;
  return credentials_->access_key;
}

}  // namespace snapfaas::gateway
