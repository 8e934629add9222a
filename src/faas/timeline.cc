#include "faas/timeline.h"

#include <algorithm>
#include <initializer_list>

#include "base/clock.h"

namespace snapfaas::faas {
namespace {

// Every stamp is there and none is before the one that precedes it.
bool InOrder(std::initializer_list<int64_t> stamps) {
  return *stamps.begin() > 0 && std::is_sorted(stamps.begin(), stamps.end());
}

double Between(int64_t from, int64_t to) { return ToMillis(to - from); }

// The request was sent when the guest was ready, or before: then it waited in the channel.
double RequestMillis(const Timeline& t) { return Between(std::max(t.ready, t.request_sent), t.response_received); }

}  // namespace

std::optional<BootBreakdown> BreakDownBoot(const Timeline& t) {
  if (!InOrder({t.launched, t.command_sent, t.kernel_up, t.agent_up, t.runtime_up, t.ready, t.response_received}) ||
      !InOrder({t.request_sent, t.response_received})) {
    return std::nullopt;
  }
  BootBreakdown result;
  result.vmm = Between(t.launched, t.command_sent);
  result.kernel = Between(t.command_sent, t.kernel_up);
  result.init = Between(t.kernel_up, t.agent_up);
  result.runtime = Between(t.agent_up, t.runtime_up);
  result.load = Between(t.runtime_up, t.ready);
  result.request = RequestMillis(t);
  result.ready = Between(t.launched, t.runtime_up);
  result.response = Between(t.launched, t.ready) + result.request;
  return result;
}

std::optional<RestoreBreakdown> BreakDownRestore(const Timeline& t) {
  // A function snapshot has its appfs mounted.
  const int64_t identified = t.identified == 0 ? t.state_done : t.identified;
  const int64_t mounted = t.mounted == 0 ? identified : t.mounted;
  const int64_t able = t.mounted == 0 ? t.ready : t.mounted;
  if (!InOrder({t.launched, t.begun, t.state_done, identified, mounted, t.ready, t.response_received}) ||
      !InOrder({t.request_sent, t.response_received})) {
    return std::nullopt;
  }
  RestoreBreakdown result;
  result.vmm = Between(t.launched, t.begun);
  result.memory = Between(t.begun, t.state_done);
  result.identity = Between(t.state_done, identified);
  result.mount = Between(identified, mounted);
  result.load = Between(mounted, t.ready);
  result.request = RequestMillis(t);
  result.ready = Between(t.launched, able);
  result.response = Between(t.launched, t.ready) + result.request;
  return result;
}

}  // namespace snapfaas::faas
