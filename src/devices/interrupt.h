// A device's interrupt line, seen from the device.
#pragma once

namespace snapfaas::devices {

class Interrupt {
 public:
  virtual ~Interrupt() = default;

  // One edge. From any thread; must not block or call back into a device.
  virtual void Trigger() = 0;
};

}  // namespace snapfaas::devices
