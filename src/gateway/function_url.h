// Function URLs: plain HTTP in front of a function, as AWS Lambda's, payload format 2.0.
//
//   http://ID.lambda-url.localhost:8480/path        by host name
//   http://127.0.0.1:8480/function-url/ID/path      for clients that cannot resolve it
//
// The request becomes the function's event; its answer becomes the response: an object with statusCode says all of it
// (headers, cookies, body, isBase64Encoded), anything else is the body of a 200. A URL's CORS settings answer
// preflights without the function, and replace the function's own CORS headers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gateway/http_message.h"
#include "gateway/responder.h"
#include "node/invoker.h"
#include "registry/function.h"

namespace snapfaas::gateway {

struct UrlTarget {
  std::string id;
  std::string path;  // what the function sees, still encoded
};

// Empty when the request goes to no function URL.
std::optional<UrlTarget> FindUrlTarget(const HttpRequest& head);

// Who has signed the request. Empty: nobody.
using Caller = std::optional<std::string>;

// What the function gets.
struct UrlEventContext {
  std::string request_id;
  std::string account;
  int64_t unix_ms = 0;
  Caller caller;  // its access key
};
std::string MakeUrlEvent(const HttpRequest& request, const UrlTarget& target, const UrlEventContext& context);

// What the client gets. 502 when the function has failed or its answer makes no sense.
HttpResponse FromUrlAnswer(node::InvocationAnswer answer);

// The answer to a preflight by these settings; empty when the request is none.
std::optional<HttpResponse> AnswerPreflight(const registry::Cors& cors, const HttpRequest& request);
// To the client that came from `origin`.
void ApplyCors(const registry::Cors& cors, std::string_view origin, HttpResponse& response);

class FunctionUrls {
 public:
  // kNotFound: no such URL. Blocks on the disk.
  using Find = std::function<Result<registry::FunctionUrl>(const std::string& id)>;
  // Checks the request's signature.
  using Authenticate = std::function<Caller(const HttpRequest& request)>;

  FunctionUrls(node::Invoker& invoker, Find find, Authenticate authenticate, std::string account)
      : invoker_(invoker),
        find_(std::move(find)),
        authenticate_(std::move(authenticate)),
        account_(std::move(account)) {}

  // Blocks on the disk.
  void Handle(const HttpRequest& request, const UrlTarget& target, const std::string& request_id, Responder responder);

 private:
  node::Invoker& invoker_;
  const Find find_;
  const Authenticate authenticate_;
  const std::string account_;
};

}  // namespace snapfaas::gateway
