// The zip archive that a deployment sends, and what its handler is likely to be.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "images/runtimefs.h"

namespace snapfaas::cli {

struct GuessedHandler {
  std::string name;     // "app.handler"
  bool is_sure = true;  // its text says so
};

struct DeploymentPackage {
  std::string zip;
  // Where there is none of the runtime's handler files in it: empty.
  GuessedHandler handler;
};

// `recipe` is of its runtime; null where nobody knows it: no handler is guessed then.
//
// Of a folder: its files in order and without their times, so that the same files give the same bytes; __pycache__ and
// .git stay out. A zip archive goes as it is. kNotFound, kInvalidArgument: `source` is neither.
Result<DeploymentPackage> MakePackage(const std::filesystem::path& source, const images::RuntimeRecipe* recipe);

}  // namespace snapfaas::cli
