// HttpClient: what the commands speak to a node with. One request at a time, a connection for each; signed (AWS
// Signature Version 4) where there are credentials.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "http/canonical_request.h"
#include "http/sigv4.h"

namespace snapfaas::cli {

struct Endpoint {
  std::string host;
  uint16_t port = 80;
  std::string url;  // as the user knows it
};

// Of "http://host[:port]". kInvalidArgument otherwise.
Result<Endpoint> ParseEndpoint(const std::string& url);

struct HttpCall {
  std::string method = "GET";
  std::string target;  // path and query, encoded
  http::Fields headers = {};
  std::string body = {};
  // From the first byte sent to the last one received.
  double timeout_seconds = 30;
};

// A longer one is an error.
inline constexpr uint64_t kMaxReplyBytes = uint64_t{64} << 20;

struct HttpReply {
  int status = 0;
  http::Fields headers;
  std::string body;

  // Empty where there is no such field, whatever its case.
  std::string Header(std::string_view name) const;
};

// The header fields that go with a call: its own, Host and, with credentials, a signature of this moment.
Result<http::Fields> FieldsOf(const HttpCall& call, const Endpoint& endpoint,
                              const std::optional<http::Credentials>& credentials, const http::SigningScope& scope);

class HttpClient {
 public:
  HttpClient(Endpoint endpoint, std::optional<http::Credentials> credentials, http::SigningScope scope)
      : endpoint_(std::move(endpoint)), credentials_(std::move(credentials)), scope_(std::move(scope)) {}

  // Any reply is a result, whatever its status. kUnavailable: nobody answers there; kTimedOut.
  Result<HttpReply> Send(const HttpCall& call) const;

  const Endpoint& endpoint() const { return endpoint_; }

 private:
  Endpoint endpoint_;
  std::optional<http::Credentials> credentials_;
  http::SigningScope scope_;
};

// $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, where both are set; $AWS_REGION or $AWS_DEFAULT_REGION.
std::optional<http::Credentials> CredentialsOfEnvironment();
http::SigningScope ScopeOfEnvironment();

}  // namespace snapfaas::cli
