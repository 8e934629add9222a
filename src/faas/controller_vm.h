// The books of one microVM: what the Controller's own files share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "faas/controller.h"

namespace snapfaas::faas {

struct Controller::Vm {
  Vm(Handle of_handle, const FunctionSpec& of_spec, uint64_t cost) : handle(of_handle), spec(of_spec), mib(cost) {}

  const Handle handle;  // constant, unlike the host's id: that changes with each try to launch it
  const FunctionSpec spec;
  const uint64_t mib;
  VmId id = 0;  // 0: the host has nothing of it
  VmState state = VmState::kStarting;
  int64_t launched_ns = 0;
  int64_t since_ns = 0;
  uint64_t requests = 0;
  int tries = 0;
  uint64_t idle_place = 0;
  bool is_claim = true;  // in line for memory and a launch
  bool is_leased = false;
  bool is_spare = false;  // to be launched without a request
  bool is_dirty = false;  // by the request of this lease
  bool is_retired = false;
  StartKind start = StartKind::kRestored;  // of this lease
  std::optional<MemoryBudget::Reservation> reservation;
  std::optional<Timekeeper::TimerId> timer;         // whatever its state waits for
  std::optional<Timekeeper::TimerId> launch_timer;  // while its launch counts

  SharedRequest request;  // until it is answered: a launch may have to be tried again
  std::function<void()> started;
  VmHost::AnswerDone done;
  std::function<void()> gone;
};

template <typename... Args>
std::function<void(std::decay_t<Args>...)> Controller::OnThread(const Vm& vm,
                                                                void (Controller::*then)(Vm& vm, Args... args)) {
  return [this, &timekeeper = timekeeper_, alive = std::weak_ptr(alive_), handle = vm.handle, id = vm.id,
          then](std::decay_t<Args>... args) {
    // This may be any thread: nothing of the Controller is touched before the posted function runs.
    timekeeper.Post([this, alive, handle, id, then, ... args = std::move(args)]() mutable {
      if (alive.expired()) return;
      Vm* of = Find(handle);
      if (of != nullptr && of->id == id) (this->*then)(*of, std::move(args)...);
    });
  };
}

}  // namespace snapfaas::faas
