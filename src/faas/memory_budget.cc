#include "faas/memory_budget.h"

#include <algorithm>

namespace snapfaas::faas {

void MemoryBudget::Reservation::GiveBack() {
  if (budget_ != nullptr) budget_->reserved_ -= mib_;
  budget_ = nullptr;
  mib_ = 0;
}

std::optional<MemoryBudget::Reservation> MemoryBudget::TryReserve(uint64_t mib) {
  if (mib > total_ - reserved_) return std::nullopt;
  reserved_ += mib;
  peak_ = std::max(peak_, reserved_);
  return Reservation(*this, mib);
}

}  // namespace snapfaas::faas
