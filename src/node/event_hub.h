// EventHub: tells those who have subscribed what happens in the node.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "node/node_view.h"

namespace snapfaas::node {

class EventHub {
 public:
  // Until what is returned is destroyed. After that `sink` is not called any more; so destroy it outside of `sink`.
  std::shared_ptr<void> Subscribe(NodeView::EventSink sink);

  // From any thread. Costs next to nothing while nobody listens.
  void Publish(std::string_view kind, const std::function<nlohmann::json()>& particulars);

 private:
  struct Subscriber {
    std::mutex mutex;  // held while `sink` runs
    NodeView::EventSink sink;
  };

  std::mutex mutex_;
  std::vector<std::weak_ptr<Subscriber>> subscribers_;
};

}  // namespace snapfaas::node
