// VcpuRunner: the thread of one vCPU. It runs the guest, hands accesses to the buses, and can be parked between two
// guest instructions, where the vCPU's state may be read.
//
//   idle [--Prepare--> waiting] --Start--> running --RequestPark, ParkHere--> parked --Resume--> running
//     any --Stop, end of the guest--> stopped
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "devices/bus.h"
#include "kvm/vcpu.h"
#include "wire/messages.h"

namespace snapfaas::vmm {

class VcpuRunner {
 public:
  struct Wiring {
    const devices::Bus* ports;
    const devices::Bus* mmio;
    // Called at most once, on the vCPU's thread, which ends after it.
    std::function<void(wire::EndedEvent)> on_ended;
    std::function<void(Error)> on_failed;
  };

  explicit VcpuRunner(kvm::Vcpu vcpu) : vcpu_(std::move(vcpu)) {}
  VcpuRunner(const VcpuRunner&) = delete;
  VcpuRunner& operator=(const VcpuRunner&) = delete;
  ~VcpuRunner() { Stop(); }

  kvm::Vcpu& vcpu() { return vcpu_; }

  // Makes the thread, which then waits for Start: what a shell can do before it is needed.
  void Prepare();
  // REQUIRES: called once. The buses outlive the thread.
  void Start(Wiring wiring);

  // Makes the thread park soon; from any thread.
  void RequestPark();
  // As RequestPark, for the runner on whose thread this is called: it parks as soon as the access at hand is done.
  static void ParkHere();
  // The index of the vCPU on whose thread this is called.
  static uint32_t CurrentIndex();

  // Blocks until the thread is parked; false when it has ended instead. REQUIRES: a park was requested.
  bool WaitParked();
  // REQUIRES: parked. The buses outlive the thread.
  void Rewire(const devices::Bus* ports, const devices::Bus* mmio);
  void Resume();

  // Ends the thread, whatever the guest does.
  void Stop();

 private:
  bool WaitForStart();
  void Loop();
  // Returns false when the thread is to end.
  bool ParkIfAsked();
  // Returns false when the guest is over.
  bool Handle(const kvm::VcpuExit& exit);
  void Kick();

  kvm::Vcpu vcpu_;
  Wiring wiring_{};
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> park_asked_ = false;
  std::atomic<bool> stop_asked_ = false;
  // Under mutex_.
  bool started_ = false;
  bool parked_ = false;
  bool ended_ = false;
};

}  // namespace snapfaas::vmm
