#include "registry/code_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <optional>

#include "base/fault_injecting_file_system.h"
#include "registry/registry_for_tests.h"

namespace snapfaas::registry {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

class CodeStoreTest : public RegistryFixture {
 protected:
  void SetUp() override {
    RegistryFixture::SetUp();
    fs::create_directory(place());
    files_.emplace(place().string());
    OpenStore();
  }
  void TearDown() override {
    store_.reset();
    files_.reset();
    RegistryFixture::TearDown();
  }

  fs::path place() const { return folder() / "files"; }
  fs::path codes() const { return place() / "code"; }

  void OpenStore() {
    auto opened = CodeStore::Open(*files_, codes(), registry());
    ASSERT_TRUE(opened) << opened.error().Message();
    store_ = *std::move(opened);
  }

  std::vector<std::string> Names() { return *files_->List(codes().string()); }

  std::optional<FaultInjectingFileSystem> files_;
  std::unique_ptr<CodeStore> store_;
};

TEST_F(CodeStoreTest, AZipIsNamedByItsContent) {
  const auto code = store_->Put("abc");
  ASSERT_TRUE(code);
  EXPECT_EQ(code->code(), (Code{kAbc, 3}));
  EXPECT_EQ(CodeSha256(code->code()), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
  EXPECT_EQ(*store_->Read(kAbc), "abc");
  EXPECT_EQ(code->path(), codes() / kAbc);
  EXPECT_THAT(Names(), ElementsAre(kAbc));
  EXPECT_EQ(store_->Read(std::string(64, '0')).error().code, ErrorCode::kNotFound);
}

TEST_F(CodeStoreTest, WhatTheRegistryDoesNotTakeGoes) {
  {
    const auto first = store_->Put("abc");
    {
      const auto second = store_->Put("abc");
      ASSERT_TRUE(second);
    }
    ASSERT_TRUE(store_->Sweep());
    EXPECT_THAT(Names(), ElementsAre(kAbc));
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(CodeStoreTest, WhatTheRegistryHasStaysUntilItGoes) {
  {
    const auto code = store_->Put("abc");
    ASSERT_TRUE(registry().CreateFunction("f", {}, code->code(), {}, Publish::kNo));
  }
  ASSERT_TRUE(store_->Sweep());
  EXPECT_THAT(Names(), ElementsAre(kAbc));
  ASSERT_TRUE(registry().DeleteFunction("f"));
  ASSERT_TRUE(store_->Sweep());
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(CodeStoreTest, OpeningSweeps) {
  {
    const auto code = store_->Put("abc");
    ASSERT_TRUE(registry().CreateFunction("f", {}, code->code(), {}, Publish::kNo));
  }
  std::ofstream(codes() / "left.0.tmp") << "x";
  std::ofstream(codes() / std::string(64, '0')) << "x";
  store_.reset();
  OpenStore();
  EXPECT_THAT(Names(), ElementsAre(kAbc));
}

TEST_F(CodeStoreTest, WhateverFailsNothingIsLeft) {
  for (int operation = 0;; ++operation) {
    files_->FailAt(operation, ENOSPC);
    const auto code = store_->Put("abc");
    if (code) {
      EXPECT_GT(operation, 2);
      break;
    }
    EXPECT_EQ(code.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(Names(), IsEmpty());
  }
}

TEST_F(CodeStoreTest, WhateverCrashesNoHalfZipHasAName) {
  for (int operation = 0;; ++operation) {
    files_->CrashAt(operation);
    std::optional<Result<StoredCode>> code = store_->Put("abc");
    const bool is_done = code->has_value();
    const bool has_crashed = files_->crashed();
    code.reset();
    store_.reset();
    ASSERT_TRUE(files_->Restart(Losses::kUnsyncedAnything));
    if (files_->Exists((codes() / kAbc).string()).value()) {
      EXPECT_EQ(*files_->ReadSmallFile((codes() / kAbc).string(), 100), "abc");
    } else {
      EXPECT_FALSE(is_done && has_crashed);
    }
    OpenStore();
    if (!has_crashed) break;
  }
}

}  // namespace
}  // namespace snapfaas::registry
