// ProcessSpawner: starts the real snapfaas-vmm.
#pragma once

#include <filesystem>
#include <memory>

#include "faas/spawner.h"

namespace snapfaas::faas {

class ProcessSpawner : public Spawner {
 public:
  // `executable` is the path of snapfaas-vmm, which stands beside snapfaas.
  explicit ProcessSpawner(std::filesystem::path executable) : executable_(std::move(executable)) {}

  // The process gets /dev/null as standard input and output, our standard error, the control socket, and no other
  // descriptor. kNotFound where the program is missing.
  Result<std::unique_ptr<VmmProcess>> Spawn(const VmSize& size) override;

 private:
  std::filesystem::path executable_;
};

}  // namespace snapfaas::faas
