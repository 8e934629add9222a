// A runtime's recipe for the tests of what guesses handlers by it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "images/files.h"
#include "images/runtimefs.h"

namespace snapfaas::cli {

// A share folder with the recipe of a "python3" that stands for Lambda's python3.11.
inline void PutRecipe(const std::filesystem::path& share_dir) {
  const auto folder = share_dir / "bootstrap" / "python3";
  EXPECT_TRUE(images::MakeFolders(folder));
  constexpr char kRecipe[] = R"json({
      "name": "python3", "packages": [], "command": ["python3"], "lambda_runtimes": ["python3.11"],
      "handler_files": ["app.py", "app/__init__.py", "workload.py"],
      "handler_pattern": "(^|\n)((async )?def +{name} *\\(|{name} *=[^=]|(from|import) [^\n]*\\b{name}\\b)"
})json";
  EXPECT_TRUE(images::WriteWholeFile(folder / "manifest.json", kRecipe));
}

}  // namespace snapfaas::cli
