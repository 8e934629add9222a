#include "cli/bench_restore.h"

#include <gtest/gtest.h>

namespace snapfaas::cli {
namespace {

TEST(AppOfRuntimeTest, HasTheNameWhereverThePatternSays) {
  EXPECT_EQ(AppOfRuntime("tests/contract/{runtime}/main", "lua5.4"), "tests/contract/lua5.4/main");
  EXPECT_EQ(AppOfRuntime("{runtime}/{runtime}", "{runtime}"), "{runtime}/{runtime}");
  EXPECT_EQ(AppOfRuntime("examples/lorem", "R"), "examples/lorem");
}

}  // namespace
}  // namespace snapfaas::cli
