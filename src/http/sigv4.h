// AWS Signature Version 4: signs the requests of our own client, and tells whether another's signature is right.
//
// Both the header form (Authorization) and the query form ("presigned") are understood. The time stamp must be within
// 15 minutes of ours; a presigned request is good for X-Amz-Expires seconds, a week at most. Of the payload hashes that
// a client may claim, UNSIGNED-PAYLOAD leaves the body out of the signature; signed chunks are not supported. Session
// tokens are signed like any other field and otherwise ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/canonical_request.h"

namespace snapfaas::http {

struct Credentials {
  std::string access_key;
  std::string secret_key;
};

struct SigningScope {
  std::string region = "us-east-1";
  std::string service = "lambda";
};

// The fields to add, X-Amz-Date and Authorization, so that `request` is signed with its Host, Content-Type and X-Amz-*.
// kInvalidArgument when the request has no Host or its query is badly encoded.
Result<Fields> SignRequest(const Credentials& credentials, const SigningScope& scope, int64_t unix_seconds,
                           const SignableRequest& request);

// `query` and what makes a GET of `path` at `host` signed without any header field, for as long as it says (a week at
// most). Paths and queries as they go over the wire. kInvalidArgument when `query` is badly encoded.
Result<std::string> PresignGet(const Credentials& credentials, const SigningScope& scope, int64_t unix_seconds,
                               int64_t expires_seconds, const std::string& host, std::string_view path,
                               std::string_view query);

// Why a request is refused, in AWS's words: the name of its exception, and a sentence. All are answered by 403.
struct SignatureRefusal {
  std::string type;  // InvalidSignatureException, ...
  std::string message;
};

// Of any region, but of this service.
std::optional<SignatureRefusal> VerifyRequest(const Credentials& credentials, std::string_view service,
                                              int64_t now_unix_seconds, const SignableRequest& request);

}  // namespace snapfaas::http
