// LambdaInvoke: AWS Lambda's Invoke, and InvokeAsync of old.
//
//   POST /2015-03-31/functions/{fn}/invocations   RequestResponse 200, Event 202, DryRun 204
//   POST /2014-11-13/functions/{fn}/invoke-async/                      202
//
// A function's failure is 200 with X-Amz-Function-Error. Beyond AWS, answers say how the request came to its microVM:
// X-SnapFaaS-Start (idle, reset, restored), X-SnapFaaS-Snapshot (base, function), and milliseconds by phase in
// X-SnapFaaS-Queued-Ms, -Restore-Ms, -Load-Ms, -Run-Ms and -Total-Ms.
//
// A client that goes has its request cancelled. Nothing here blocks the calling thread, but for reading the event as
// JSON: the caller hands big ones over on a worker.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "gateway/function_name.h"
#include "gateway/http_message.h"
#include "gateway/lambda_error.h"
#include "gateway/responder.h"
#include "gateway/worker_pool.h"
#include "node/invoker.h"

namespace snapfaas::gateway {

inline constexpr size_t kMaxEventBytes = 6 * 1024 * 1024;
inline constexpr size_t kMaxAsyncEventBytes = 1024 * 1024;
inline constexpr size_t kMaxAnswerBytes = 6'291'556;

// X-SnapFaaS-*.
void AddTimings(const node::InvocationAnswer& answer, HttpFields& headers);

// Invokes, and cancels when the client goes. `respond` makes the HTTP answer.
void InvokeFor(Responder responder, node::Invoker& invoker, node::Invocation invocation,
               std::function<HttpResponse(node::InvocationAnswer)> respond);

class LambdaInvoke {
 public:
  // All outlive it and the requests that it has taken.
  LambdaInvoke(node::Invoker& invoker, node::EventAcceptor& events, WorkerPool& workers, const LambdaPlace& place)
      : invoker_(invoker), events_(events), workers_(workers), place_(place) {}

  static bool IsFor(const HttpRequest& head);

  // "Request must be smaller than N bytes for the InvokeFunction operation".
  static LambdaError TooLarge(size_t limit);

  // REQUIRES: IsFor(request). `request_id` becomes the invocation's.
  void Handle(HttpRequest request, const std::string& request_id, Responder responder);

 private:
  LambdaResult<node::Invocation> ReadInvocation(HttpRequest& request, const std::string& request_id) const;
  void InvokeAndWait(node::Invocation invocation, bool with_log, Responder responder);
  void Accept(node::Invocation invocation, const HttpResponse& accepted, Responder responder);
  void DryRun(const node::Invocation& invocation, Responder responder);

  node::Invoker& invoker_;
  node::EventAcceptor& events_;
  WorkerPool& workers_;
  const LambdaPlace place_;
};

}  // namespace snapfaas::gateway
