// What a VM becomes after the snapshot point: a machine with the right time, a name and randomness of its own.
#pragma once

#include "common/doorbell.h"
#include "wire/guest_abi.h"

namespace snapfaas::guest {

class IdentitySource {
 public:
  // Opens what Apply() needs, before the snapshot.
  IdentitySource();

  // Reads the identity page anew. False where the machine has none.
  bool Read(wire::IdentityPage& identity) const;

  // Clock, host name, boot id, kernel randomness. What cannot be set is said on the console; the VM goes on.
  void Apply(const wire::IdentityPage& identity) const;

  // 64 hexadecimal digits and a NUL from the kernel's random source.
  void MakeLanguageSeed(char (&hex)[65]) const;

 private:
  MmioPage page_;
  int urandom_ = -1;
  int boot_id_ = -1;
};

}  // namespace snapfaas::guest
