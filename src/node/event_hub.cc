#include "node/event_hub.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/json.h"

namespace snapfaas::node {

std::shared_ptr<void> EventHub::Subscribe(NodeView::EventSink sink) {
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->sink = std::move(sink);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(subscribers_, [](const auto& known) { return known.expired(); });
    subscribers_.push_back(subscriber);
  }
  // A Publish that has the subscriber in hand must not call a sink whose owner is gone.
  return {subscriber.get(), [subscriber](void*) mutable {
            {
              const std::lock_guard lock(subscriber->mutex);
              subscriber->sink = nullptr;
            }
            subscriber.reset();
          }};
}

void EventHub::Publish(std::string_view kind, const std::function<nlohmann::json()>& particulars) {
  std::vector<std::shared_ptr<Subscriber>> listening;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& known : subscribers_) {
      if (auto subscriber = known.lock()) listening.push_back(std::move(subscriber));
    }
  }
  if (listening.empty()) return;
  const NodeEvent event{RealtimeNanos() / 1'000'000, std::string(kind),
                        particulars().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  for (const auto& subscriber : listening) {
    const std::lock_guard lock(subscriber->mutex);
    if (subscriber->sink) subscriber->sink(event);
  }
}

}  // namespace snapfaas::node
