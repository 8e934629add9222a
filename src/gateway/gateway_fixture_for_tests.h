// A gateway on a free port with the fakes behind it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/fakes_for_tests.h"
#include "gateway/gateway.h"
#include "gateway/http_client_for_tests.h"

namespace snapfaas::gateway {

class GatewayFixture : public ::testing::Test {
 protected:
  using Answer = HttpClientForTests::Answer;

  void Start(GatewayOptions options = {}) {
    options.port = 0;
    invoker_.observe = [this](const auto& function, const auto& answer) { metrics_.Count(function, answer); };
    auto created = Gateway::Create(options, Services());
    ASSERT_TRUE(created) << created.error().Message();
    gateway_ = std::move(*created);
  }

  GatewayServices Services() {
    return {[](const HttpRequest& request) -> std::optional<HttpResponse> {
              if (!request.path.starts_with("/2015-03-31/functions")) return std::nullopt;
              return HttpResponse{200, {}, "managed " + std::to_string(request.body.size())};
            },
            invoker_,
            events_,
            view_,
            [this](const std::string& id) -> Result<registry::FunctionUrl> {
              if (id != url_.id) return Fail(ErrorCode::kNotFound, "no function URL '{}'", id);
              return url_;
            },
            metrics_};
  }

  HttpClientForTests Connect() { return HttpClientForTests(gateway_->port()); }

  Answer Request(const std::string& method, const std::string& target, std::string_view body = {},
                 const std::string& headers = "") {
    return Connect().Request(method, target, body, headers);
  }

  Answer Invoke(const std::string& function, std::string_view event = "{}", const std::string& headers = "") {
    return Request("POST", "/2015-03-31/functions/" + function + "/invocations", event, headers);
  }

  FakeInvoker invoker_;
  FakeEvents events_;
  FakeView view_;
  Metrics metrics_;
  registry::FunctionUrl url_;
  std::unique_ptr<Gateway> gateway_;
};

inline node::InvocationAnswer Answered(const std::string& payload) {
  node::InvocationAnswer answer;
  answer.payload = payload;
  answer.executed_version = "$LATEST";
  return answer;
}

}  // namespace snapfaas::gateway
