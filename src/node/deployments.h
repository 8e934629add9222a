// Deployments: what becomes of a function version after the registry has taken it: image, base snapshot, function
// snapshot. The gateway starts it; the work is done in the background and its end told to the registry.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/function.h"
#include "registry/runtimes.h"

namespace snapfaas::node {

class Deployments {
 public:
  virtual ~Deployments() = default;

  // Whether `zip` can be deployed: an archive that is whole, stays in its folder and keeps to Lambda's limits.
  // kInvalidArgument says what is wrong with it. Blocks.
  virtual Status CheckZip(const std::filesystem::path& zip) = 0;

  // Those there are, built on this node or not. Stays the same.
  virtual const registry::Runtimes& Runtimes() const = 0;
  // Of our names, e.g. "python3": whether its runtime is built on this node.
  virtual bool HasRuntime(const std::string& runtime) = 0;

  // Begins to make what the registry has for this version ready to run (State or LastUpdateStatus is in progress),
  // after a change of code or configuration. Ends in Registry::FinishDeployment or FailDeployment.
  virtual void Start(const std::string& function, const std::string& version) = 0;

  // Whether microVMs of what is deployed of this version are restored from its own snapshot.
  virtual bool HasSnapshot(const registry::FunctionVersion& version) = 0;

  // The registry has removed these versions ("$LATEST" or numbers): their microVMs and images may go.
  virtual void Removed(const std::string& function, const std::vector<std::string>& versions) = 0;
};

}  // namespace snapfaas::node
