#include "registry/function.h"

namespace snapfaas::registry {

const char* StateName(State state) {
  switch (state) {
    case State::kPending:
      return "Pending";
    case State::kActive:
      return "Active";
    case State::kFailed:
      return "Failed";
  }
  return "";
}

const char* UpdateStatusName(UpdateStatus status) {
  switch (status) {
    case UpdateStatus::kNone:
      return "";
    case UpdateStatus::kInProgress:
      return "InProgress";
    case UpdateStatus::kSuccessful:
      return "Successful";
    case UpdateStatus::kFailed:
      return "Failed";
  }
  return "";
}

const FunctionVersion& Resolution::Choose(double random) const {
  double passed = 0;
  for (const auto& choice : choices) {
    passed += choice.weight;
    if (random < passed) return choice.version;
  }
  // The weights' sum fell short of 1 by rounding: the first has what the others leave.
  return choices.front().version;
}

}  // namespace snapfaas::registry
