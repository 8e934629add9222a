// MemoryBudget: how much of the host's memory microVMs may take, in MiB. Whoever makes a microVM holds a Reservation
// for as long as anything of it is left. Not for several threads.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

namespace snapfaas::faas {

class MemoryBudget {
 public:
  // A part of the budget; its destruction gives it back.
  class Reservation {
   public:
    Reservation(Reservation&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), mib_(std::exchange(other.mib_, 0)) {}
    Reservation& operator=(Reservation&& other) noexcept {
      if (this != &other) {
        GiveBack();
        budget_ = std::exchange(other.budget_, nullptr);
        mib_ = std::exchange(other.mib_, 0);
      }
      return *this;
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation() { GiveBack(); }

    uint64_t mib() const { return mib_; }

   private:
    friend class MemoryBudget;
    Reservation(MemoryBudget& budget, uint64_t mib) : budget_(&budget), mib_(mib) {}
    void GiveBack();

    MemoryBudget* budget_;
    uint64_t mib_;
  };

  explicit MemoryBudget(uint64_t total_mib) : total_(total_mib) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget() = default;

  // Nothing where less than that is left. REQUIRES: the budget outlives the reservation.
  std::optional<Reservation> TryReserve(uint64_t mib);

  uint64_t total() const { return total_; }
  uint64_t reserved() const { return reserved_; }
  uint64_t peak_reserved() const { return peak_; }

 private:
  const uint64_t total_;
  uint64_t reserved_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace snapfaas::faas
