#include "cli/deployment_package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <optional>

#include "cli/recipe_for_tests.h"
#include "images/files.h"
#include "node/unpacker.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class PackageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto folder = images::TemporaryFolder::Create(::testing::TempDir());
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
    fs::create_directory(Function());
    PutRecipe(folder_->path() / "share");
    auto recipe = images::LoadRecipe(folder_->path() / "share", "python3");
    ASSERT_TRUE(recipe) << recipe.error().Message();
    recipe_ = *std::move(recipe);
  }

  fs::path Function() const { return folder_->path() / "function"; }
  void Put(const fs::path& name, std::string_view content) {
    EXPECT_TRUE(images::MakeFolders((Function() / name).parent_path()));
    EXPECT_TRUE(images::WriteWholeFile(Function() / name, content));
  }

  DeploymentPackage Pack() {
    auto package = MakePackage(Function(), &recipe_);
    EXPECT_TRUE(package) << package.error().Message();
    return package ? *package : DeploymentPackage();
  }

  // "app.handler", with a question mark where it is a guess.
  std::string Guess() {
    const auto handler = Pack().handler;
    return handler.name + (handler.is_sure ? "" : "?");
  }

  std::optional<images::TemporaryFolder> folder_;
  images::RuntimeRecipe recipe_;
};

TEST_F(PackageTest, FolderBecomesAnArchiveThatUnpacksToIt) {
  Put("app.py", "def handler(e, c): pass\n");
  Put("lib/data.bin", std::string(300'000, 'd'));
  Put("lib/__pycache__/x.pyc", "compiled");
  Put(".git/HEAD", "ref");
  Put("tool", "#!/bin/sh\n");
  fs::permissions(Function() / "tool", fs::perms{0700});
  fs::create_symlink("../app.py", Function() / "lib/link");
  const fs::path zip = folder_->path() / "code.zip";
  ASSERT_TRUE(images::WriteWholeFile(zip, Pack().zip));
  const fs::path out = folder_->path() / "out";
  ASSERT_TRUE(node::Unpack(zip, out));
  EXPECT_EQ(*images::ReadWholeFile(out / "lib/data.bin"), std::string(300'000, 'd'));
  EXPECT_EQ(fs::read_symlink(out / "lib/link"), "../app.py");
  EXPECT_EQ(fs::status(out / "tool").permissions(), fs::perms{0755});
  EXPECT_EQ(fs::status(out / "app.py").permissions(), fs::perms{0644});
  EXPECT_FALSE(fs::exists(out / "lib/__pycache__"));
  EXPECT_FALSE(fs::exists(out / ".git"));
}

TEST_F(PackageTest, SameFilesGiveTheSameBytesWhenever) {
  Put("app.py", "x");
  Put("b/c.py", "y");
  const std::string before = Pack().zip;
  fs::last_write_time(Function() / "app.py", fs::file_time_type::clock::now() - std::chrono::hours(1000));
  EXPECT_EQ(Pack().zip, before);
  Put("app.py", "z");
  EXPECT_NE(Pack().zip, before);
}

TEST_F(PackageTest, HandlerIsWhatRunWouldCall) {
  Put("workload.py", "def handle(event): pass\n");
  EXPECT_EQ(Guess(), "workload.handle");
  Put("app.py", "import os\n\nasync def handler (event, context):\n    pass\n");
  EXPECT_EQ(Guess(), "app.handler");
  Put("app.py", "def handle(event):\n    def handler(): pass\n");
  EXPECT_EQ(Guess(), "app.handle");
  Put("app.py", "handler = make()\n");
  EXPECT_EQ(Guess(), "app.handler");
  Put("app.py", "from app.part import handler\n");
  EXPECT_EQ(Guess(), "app.handler");
}

TEST_F(PackageTest, HandlerThatIsNotToBeSeenIsAGuess) {
  Put("app.py", "exec(open('real.py').read())\n");
  EXPECT_EQ(Guess(), "app.handler?");
  fs::remove(Function() / "app.py");
  Put("other.py", "def handler(e, c): pass\n");
  EXPECT_EQ(Guess(), "");
}

TEST_F(PackageTest, HandlerIsWrittenAsItsRuntimeHasIt) {
  recipe_.handler_files = {"App.java", "bootstrap"};
  recipe_.handler_format = "{file}::{name}";
  recipe_.handler_pattern = images::RuntimeRecipe().handler_pattern;
  Put("App.java", "class App { Object handle(Object event) { return handlers; } }\n");
  EXPECT_EQ(Guess(), "App::handle");
  recipe_.handler_format = "{file}";
  fs::rename(Function() / "App.java", Function() / "bootstrap");
  EXPECT_EQ(Guess(), "bootstrap");
}

TEST_F(PackageTest, WithoutARecipeNoHandlerIsGuessed) {
  Put("app.py", "def handler(e, c): pass\n");
  const auto package = MakePackage(Function(), nullptr);
  ASSERT_TRUE(package);
  EXPECT_EQ(package->handler.name, "");
}

TEST_F(PackageTest, ArchiveGoesAsItIs) {
  Put("app.py", "def handle(event): pass\n");
  const std::string bytes = Pack().zip;
  const fs::path zip = folder_->path() / "code.zip";
  ASSERT_TRUE(images::WriteWholeFile(zip, bytes));
  const auto package = MakePackage(zip, &recipe_);
  ASSERT_TRUE(package);
  EXPECT_EQ(package->zip, bytes);
  EXPECT_EQ(package->handler.name, "app.handle");
}

TEST_F(PackageTest, WhatCannotBeDeployedIsNamed) {
  EXPECT_THAT(MakePackage(Function(), &recipe_).error().Message(), HasSubstr("has no files"));
  EXPECT_EQ(MakePackage(folder_->path() / "nowhere", &recipe_).error().code, ErrorCode::kNotFound);
  Put("app.py", std::string(100, 'x'));
  EXPECT_THAT(MakePackage(Function() / "app.py", &recipe_).error().Message(), HasSubstr("not a whole zip archive"));
  ASSERT_EQ(::mkfifo((Function() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(MakePackage(Function(), &recipe_).error().Message(), HasSubstr("pipe is neither a file nor a folder"));
}

}  // namespace
}  // namespace snapfaas::cli
