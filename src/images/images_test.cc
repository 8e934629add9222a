// Recipes, images and the runtimes on disk, on a folder of their own. What needs mkfs.erofs is skipped without it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "images/appfs.h"
#include "images/erofs.h"
#include "images/files.h"
#include "images/process.h"
#include "images/recipe.h"
#include "images/runtime_store.h"
#include "images/runtimefs.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

bool HasMkfs() {
  const auto ran = RunProgram({"mkfs.erofs", "-h"});
  return ran || ran.error().code != ErrorCode::kUnavailable;
}

// A superblock of `blocks` 4 KiB blocks in a file of `file_size` bytes.
std::string ErofsBytes(uint32_t blocks, size_t file_size, uint32_t magic = 0xE0F5E1E2, uint8_t block_bits = 12) {
  std::string bytes(std::max<size_t>(file_size, 2048), '\0');
  for (size_t i = 0; i < 4; ++i) {
    bytes[1024 + i] = static_cast<char>(magic >> (8 * i));
    bytes[1024 + 36 + i] = static_cast<char>(blocks >> (8 * i));
  }
  bytes[1024 + 12] = static_cast<char>(block_bits);
  bytes.resize(file_size);
  return bytes;
}

class ImagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto folder = TemporaryFolder::Create(::testing::TempDir());
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
  }

  fs::path Put(const fs::path& name, std::string_view content) {
    fs::path path = folder_->path() / name;
    EXPECT_TRUE(MakeFolders(path.parent_path()));
    EXPECT_TRUE(WriteWholeFile(path, content));
    return path;
  }

  const fs::path& path() const { return folder_->path(); }

  // What BuildRuntime leaves behind.
  void PutRuntime(const std::string& name) {
    const fs::path runtime = fs::path("runtimes") / name;
    Put("kernels/6.1-cloud-amd64_6.1-1/vmlinuz", "kernel");
    Put("kernels/6.1-cloud-amd64_6.1-1/vmlinux", "kernel");
    Put(runtime / kRootfsFile, ErofsBytes(2, 8192));
    Put(runtime / kInitramfsFile, "070701");
    Put(runtime / "compile", "");
    RuntimeRecipe recipe{name, {"python3"}, {"/usr/bin/python3"}, {"app.py"}, CompileStep{{"sh"}, "compile"}};
    recipe.lambda_runtimes = {"python3.11"};
    recipe.min_memory_mib = 256;
    const KernelFiles kernel{.release = "6.1-cloud-amd64",
                             .package_version = "6.1-1",
                             .dir = path() / "kernels/6.1-cloud-amd64_6.1-1",
                             .vmlinuz = {},
                             .vmlinux = {},
                             .modules_dir = {}};
    ASSERT_TRUE(WriteManifest(path() / runtime, recipe, kernel, {"abc", "format-7", "Python 3.11", 1'700'000'000}));
  }

  void ExpectOpenFails(ErrorCode code, const char* text) {
    const auto opened = OpenRuntime(path(), "python3");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, code) << opened.error().Message();
    EXPECT_THAT(opened.error().Message(), HasSubstr(text));
  }

  std::optional<TemporaryFolder> folder_;
};

// ---- erofs ---------------------------------------------------------------------------------------------------------

TEST_F(ImagesTest, WholeErofsImageIsAccepted) { EXPECT_TRUE(CheckErofsImage(Put("i", ErofsBytes(2, 8192)))); }

TEST_F(ImagesTest, MissingImageIsNotFound) {
  EXPECT_EQ(CheckErofsImage(path() / "none").error().code, ErrorCode::kNotFound);
}

TEST_F(ImagesTest, ImageWithAnotherMagicIsCorrupt) {
  const auto checked = CheckErofsImage(Put("i", ErofsBytes(2, 8192, 0x12345678)));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(checked.error().context, HasSubstr("not an erofs"));
}

TEST_F(ImagesTest, ImageShorterThanASuperblockIsCorrupt) {
  EXPECT_EQ(CheckErofsImage(Put("i", ErofsBytes(2, 1030))).error().code, ErrorCode::kCorrupt);
}

TEST_F(ImagesTest, ImageShorterThanItsBlocksIsCorrupt) {
  const auto checked = CheckErofsImage(Put("i", ErofsBytes(2, 8191)));
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().context, HasSubstr("cut short"));
}

TEST_F(ImagesTest, ImageWithAnImpossibleBlockSizeIsCorrupt) {
  EXPECT_EQ(CheckErofsImage(Put("i", ErofsBytes(2, 8192, 0xE0F5E1E2, 63))).error().code, ErrorCode::kCorrupt);
}

// ---- recipes -------------------------------------------------------------------------------------------------------

TEST_F(ImagesTest, RecipeIsRead) {
  Put("bootstrap/lang/manifest.json", R"({"name":"lang","packages":["p"],"command":["/c","a"],"handler_files":["h"]})");
  const auto recipe = LoadRecipe(path(), "lang");
  ASSERT_TRUE(recipe) << recipe.error().Message();
  EXPECT_EQ(recipe->name, "lang");
  EXPECT_EQ(recipe->packages, std::vector<std::string>{"p"});
  EXPECT_EQ(recipe->command, (std::vector<std::string>{"/c", "a"}));
  EXPECT_EQ(recipe->handler_files, std::vector<std::string>{"h"});
  EXPECT_FALSE(recipe->compile);
}

TEST_F(ImagesTest, RecipeWithACompileStepIsReadAndWritten) {
  Put("bootstrap/lang/manifest.json", R"({"name":"lang","packages":[],"command":["c"],"handler_files":["h"],
                                          "compile":{"interpreter":["i","-x"],"script":"s"}})");
  const auto recipe = LoadRecipe(path(), "lang");
  ASSERT_TRUE(recipe) << recipe.error().Message();
  const auto again = RecipeFromJson(RecipeToJson(*recipe), "it");
  ASSERT_TRUE(again) << again.error().Message();
  for (const RuntimeRecipe& read : {*recipe, *again}) {
    ASSERT_TRUE(read.compile);
    EXPECT_EQ(read.compile->interpreter, (std::vector<std::string>{"i", "-x"}));
    EXPECT_EQ(read.compile->script, "s");
  }
}

TEST_F(ImagesTest, WhatARecipeMayLeaveOutIsReadAndWritten) {
  Put("bootstrap/lang/manifest.json", R"({"name":"lang","packages":[],"command":["c"],"handler_files":[]})");
  const auto bare = LoadRecipe(path(), "lang");
  ASSERT_TRUE(bare);
  EXPECT_THAT(bare->lambda_runtimes, IsEmpty());
  EXPECT_THAT(bare->version_command, IsEmpty());
  EXPECT_EQ(bare->min_memory_mib, 128u);
  EXPECT_EQ(bare->handler_format, "{file}.{name}");
  Put("bootstrap/lang/manifest.json", R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],
      "lambda_runtimes":["lang1","lang2"],"version_command":["c","-v"],"min_memory_mib":384,
      "environment":{"A":"/a:/b"},
      "handler_format":"{file}::{name}","handler_pattern":"{name}\\b"})");
  const auto full = LoadRecipe(path(), "lang");
  ASSERT_TRUE(full) << full.error().Message();
  const auto again = RecipeFromJson(RecipeToJson(*full), "it");
  ASSERT_TRUE(again) << again.error().Message();
  for (const RuntimeRecipe& read : {*full, *again}) {
    EXPECT_EQ(read.lambda_runtimes, (std::vector<std::string>{"lang1", "lang2"}));
    EXPECT_EQ(read.version_command, (std::vector<std::string>{"c", "-v"}));
    EXPECT_EQ(read.min_memory_mib, 384u);
    EXPECT_EQ(read.environment, (std::map<std::string, std::string>{{"A", "/a:/b"}}));
    EXPECT_EQ(read.handler_format, "{file}::{name}");
    EXPECT_EQ(read.handler_pattern, "{name}\\b");
  }
}

TEST_F(ImagesTest, RecipesAreListedByNameAndUnreadableOnesAreNot) {
  for (const char* name : {"ruby", "lua5.4", "R"}) {
    Put(fs::path("bootstrap") / name / "manifest.json",
        fmt::format(R"({{"name":"{}","packages":[],"command":["c"],"handler_files":[]}})", name));
  }
  Put("bootstrap/broken/manifest.json", "{}");
  const auto recipes = ListRecipes(path());
  ASSERT_THAT(recipes, SizeIs(3));
  EXPECT_EQ(recipes[0].name, "R");
  EXPECT_EQ(recipes[1].name, "lua5.4");
  EXPECT_EQ(recipes[2].name, "ruby");
  EXPECT_THAT(ListRecipes(path() / "nowhere"), IsEmpty());
}

TEST(RuntimeNameTest, IsAFoldersName) {
  for (const char* name : {"python3", "lua5.4", "R", "a-b", "0"}) EXPECT_TRUE(IsRuntimeName(name)) << name;
  for (const char* name :
       {"", ".", "..", ".a", "-a", "a..b", "a/b", "a b", "a_b", "\xc3\xa4", "abcdefghijabcdefghijabcdefghijabc"}) {
    EXPECT_FALSE(IsRuntimeName(name)) << name;
  }
}

TEST_F(ImagesTest, UnknownRecipeListsTheKnownOnes) {
  Put("bootstrap/lang/manifest.json", "{}");
  const auto recipe = LoadRecipe(path(), "other");
  ASSERT_FALSE(recipe);
  EXPECT_EQ(recipe.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(recipe.error().context, HasSubstr("known: lang"));
}

TEST_F(ImagesTest, RecipeNameCannotLeaveTheFolder) {
  Put("secret/manifest.json", "{}");
  EXPECT_EQ(LoadRecipe(path(), "../secret").error().code, ErrorCode::kNotFound);
}

TEST_F(ImagesTest, BadRecipesAreCorrupt) {
  for (const char* text :
       {"",
        "[]",
        "{}",
        R"({"name":"Lang","packages":[],"command":["c"],"handler_files":[]})",
        R"({"name":"la_ng","packages":[],"command":["c"],"handler_files":[]})",
        R"({"name":"lang","packages":"p","command":["c"],"handler_files":[]})",
        R"({"name":"lang","packages":[1],"command":["c"],"handler_files":[]})",
        R"({"name":"lang","packages":[],"command":[],"handler_files":[]})",
        R"({"name":"lang","packages":[],"command":["c"]})",
        R"({"name":"else","packages":[],"command":["c"],"handler_files":[]})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"compile":1})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],
                               "compile":{"interpreter":["i"]}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],
                               "compile":{"interpreter":[],"script":"s"}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],
                               "compile":{"interpreter":["i"],"script":"../s"}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"lambda_runtimes":""})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"version_command":[1]})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"min_memory_mib":0})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"min_memory_mib":130})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"min_memory_mib":-128})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"min_memory_mib":9984})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"handler_format":1})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"environment":[]})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"environment":{"A":1}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"environment":{"A=":""}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"environment":{"A":"\n"}})",
        R"({"name":"lang","packages":[],"command":["c"],"handler_files":[],"handler_pattern":"("})"}) {
    Put("bootstrap/lang/manifest.json", text);
    const auto recipe = LoadRecipe(path(), "lang");
    ASSERT_FALSE(recipe) << text;
    EXPECT_EQ(recipe.error().code, ErrorCode::kCorrupt) << text;
  }
}

// ---- runtimes ------------------------------------------------------------------------------------------------------

TEST_F(ImagesTest, RuntimeOpens) {
  PutRuntime("python3");
  const auto images = OpenRuntime(path(), "python3");
  ASSERT_TRUE(images) << images.error().Message();
  EXPECT_EQ(images->inputs_hash, "abc");
  EXPECT_EQ(images->version, "Python 3.11");
  EXPECT_EQ(images->kernel, path() / "kernels/6.1-cloud-amd64_6.1-1/vmlinuz");
  EXPECT_EQ(images->recipe.handler_files, std::vector<std::string>{"app.py"});
  const std::string script = path() / "runtimes/python3/compile";
  EXPECT_EQ(images->compile_command, (std::vector<std::string>{"sh", script, "format-7"}));
}

TEST_F(ImagesTest, RuntimeWithoutItsCompileScriptIsNotFound) {
  PutRuntime("python3");
  fs::remove(path() / "runtimes/python3/compile");
  ExpectOpenFails(ErrorCode::kNotFound, "compile");
}

TEST_F(ImagesTest, RuntimeThatIsNotBuiltSaysHowToBuildIt) {
  ExpectOpenFails(ErrorCode::kNotFound, "snapfaas runtime build python3");
}

TEST_F(ImagesTest, RuntimeWithoutKernelIsNotFound) {
  PutRuntime("python3");
  fs::remove_all(path() / "kernels");
  ExpectOpenFails(ErrorCode::kNotFound, "kernel");
}

TEST_F(ImagesTest, RuntimeWithoutRootfsIsNotFound) {
  PutRuntime("python3");
  fs::remove(path() / "runtimes/python3" / kRootfsFile);
  ExpectOpenFails(ErrorCode::kNotFound, kRootfsFile);
}

TEST_F(ImagesTest, RuntimeWithCutInitramfsIsCorrupt) {
  PutRuntime("python3");
  fs::resize_file(path() / "runtimes/python3" / kInitramfsFile, 3);
  ExpectOpenFails(ErrorCode::kCorrupt, kInitramfsFile);
}

TEST_F(ImagesTest, RuntimeWithCutRootfsIsCorrupt) {
  PutRuntime("python3");
  fs::resize_file(path() / "runtimes/python3" / kRootfsFile, 4096);
  ExpectOpenFails(ErrorCode::kCorrupt, "cut short");
}

TEST_F(ImagesTest, RuntimeWithBrokenManifestIsCorrupt) {
  PutRuntime("python3");
  Put("runtimes/python3/manifest.json", "{");
  ExpectOpenFails(ErrorCode::kCorrupt, kManifestFile);
}

TEST_F(ImagesTest, RuntimeOfAnotherVersionIsIncompatible) {
  PutRuntime("python3");
  Put("runtimes/python3/manifest.json", R"({"version": 99})");
  ExpectOpenFails(ErrorCode::kIncompatible, "another version");
}

TEST_F(ImagesTest, RuntimesAreListedByNameAndHalfBuiltOnesAreNot) {
  PutRuntime("python3");
  PutRuntime("nodejs");
  Put("runtimes/.tmp-abc/manifest.json", "{}");
  Put("runtimes/broken/manifest.json", "{}");
  const auto runtimes = ListRuntimes(path());
  ASSERT_TRUE(runtimes);
  ASSERT_THAT(*runtimes, SizeIs(2));
  EXPECT_EQ((*runtimes)[0].name, "nodejs");
  EXPECT_EQ((*runtimes)[1].name, "python3");
  EXPECT_EQ((*runtimes)[1].rootfs_bytes, 8192u);
  EXPECT_EQ((*runtimes)[1].version, "Python 3.11");
  EXPECT_EQ((*runtimes)[1].lambda_runtimes, std::vector<std::string>{"python3.11"});
  EXPECT_EQ((*runtimes)[1].min_memory_mib, 256u);
  EXPECT_EQ((*runtimes)[1].built_unix_seconds, 1'700'000'000);
}

TEST_F(ImagesTest, NoRuntimesIsAnEmptyList) {
  const auto runtimes = ListRuntimes(path() / "nowhere");
  ASSERT_TRUE(runtimes);
  EXPECT_THAT(*runtimes, IsEmpty());
}

TEST_F(ImagesTest, RemovedRuntimeIsGone) {
  PutRuntime("python3");
  ASSERT_TRUE(RemoveRuntime(path(), "python3"));
  EXPECT_EQ(OpenRuntime(path(), "python3").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(RemoveRuntime(path(), "python3").error().code, ErrorCode::kNotFound);
  for (const auto& entry : fs::directory_iterator(path() / "runtimes")) EXPECT_EQ(entry.path().filename(), ".building");
}

// ---- folders -------------------------------------------------------------------------------------------------------

TEST_F(ImagesTest, TemporaryFolderIsRemovedUnlessPublished) {
  fs::path name;
  {
    auto folder = TemporaryFolder::Create(path());
    ASSERT_TRUE(folder);
    name = folder->path();
    EXPECT_TRUE(fs::exists(name));
  }
  EXPECT_FALSE(fs::exists(name));
}

TEST_F(ImagesTest, WhatAnInterruptedBuildHasLeftIsRemoved) {
  Put("building/.tmp-abc/stage/file", "half");
  Put("building/.lock", "");
  Put("building/kept/file", "whole");
  TemporaryFolder::RemoveLeftovers(path() / "building");
  EXPECT_FALSE(fs::exists(path() / "building/.tmp-abc"));
  EXPECT_TRUE(fs::exists(path() / "building/.lock"));
  EXPECT_TRUE(fs::exists(path() / "building/kept/file"));
  TemporaryFolder::RemoveLeftovers(path() / "nowhere");
}

TEST_F(ImagesTest, PublishingReplacesAnOlderFolderWhole) {
  Put("final/old", "old");
  {
    auto folder = TemporaryFolder::Create(path());
    ASSERT_TRUE(folder);
    ASSERT_TRUE(WriteWholeFile(folder->path() / "new", "new"));
    ASSERT_TRUE(folder->Publish(path() / "final"));
  }
  EXPECT_TRUE(fs::exists(path() / "final/new"));
  EXPECT_FALSE(fs::exists(path() / "final/old"));
  EXPECT_EQ(std::distance(fs::directory_iterator(path()), fs::directory_iterator()), 1);
}

// ---- appfs ---------------------------------------------------------------------------------------------------------

const RuntimeRecipe& PythonRecipe() {
  static const RuntimeRecipe recipe{"python3", {}, {"/usr/bin/python3"}, {"app.py", "workload"}};
  return recipe;
}

TEST_F(ImagesTest, AppFolderThatIsMissingIsNotFound) {
  EXPECT_EQ(CheckAppFolder(path() / "none", PythonRecipe()).error().code, ErrorCode::kNotFound);
}

TEST_F(ImagesTest, AppFolderThatIsAFileIsInvalid) {
  const auto checked = CheckAppFolder(Put("file", ""), PythonRecipe());
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().context, HasSubstr("is not a folder"));
}

TEST_F(ImagesTest, AppFolderWithoutHandlerSaysWhatIsLookedFor) {
  Put("app/other.py", "");
  const auto checked = CheckAppFolder(path() / "app", PythonRecipe());
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(checked.error().context, HasSubstr("app.py, workload"));
}

TEST_F(ImagesTest, AppImageIsAnErofsImageAndReproducible) {
  if (!HasMkfs()) GTEST_SKIP() << "mkfs.erofs is not installed";
  Put("app/app.py", "def handle(event): return 1\n");
  ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), {}, path() / "one.erofs"));
  Put("app/__pycache__/app.cpython-311.pyc", "left by an interpreter");
  ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), {}, path() / "two.erofs"));
  EXPECT_TRUE(CheckErofsImage(path() / "one.erofs"));
  EXPECT_EQ(ReadWholeFile(path() / "one.erofs").value(), ReadWholeFile(path() / "two.erofs").value());
  EXPECT_EQ(std::distance(fs::directory_iterator(path()), fs::directory_iterator()), 3);
}

TEST_F(ImagesTest, PackagesLieUnderTheFunctionsOwnFiles) {
  if (!HasMkfs()) GTEST_SKIP() << "mkfs.erofs is not installed";
  const PackageSource source{path() / "packages", Put("status", "what the runtime has")};
  const fs::path tree = PackageTree(source, {"some-package"}, "what the runtime has");
  Put(tree / "usr/lib/theirs", "theirs");
  Put(tree / "usr/lib/both", "theirs");
  fs::create_symlink("theirs", tree / "usr/lib/link");
  Put("app/app.py", "");
  Put("app/debian-packages.txt", "some-package\n");
  Put("app/package/usr/lib/both", "ours");
  const std::vector<std::string> compile = {"sh", "-c", "echo compiled >$1/package/usr/lib/theirs.o", "x"};
  const fs::path image = path() / "app.erofs";
  const auto built = BuildAppfs(path() / "app", PythonRecipe(), compile, image, HandlerCheck::kRequired, source);
  ASSERT_TRUE(built) << built.error().Message();
  const auto extracted = RunProgram({"fsck.erofs", "--extract=" + (path() / "out").string(), image.string()});
  if (!extracted) GTEST_SKIP() << extracted.error().Message();
  EXPECT_EQ(*ReadWholeFile(path() / "out/package/usr/lib/link"), "theirs");
  EXPECT_EQ(*ReadWholeFile(path() / "out/package/usr/lib/both"), "ours");
  EXPECT_EQ(*ReadWholeFile(path() / "out/package/usr/lib/theirs.o"), "compiled\n");
  EXPECT_TRUE(fs::exists(path() / "out/app.py"));
}

class CompiledAppTest : public ImagesTest {
 protected:
  void SetUp() override {
    ImagesTest::SetUp();
    if (!HasMkfs()) GTEST_SKIP() << "mkfs.erofs is not installed";
    Put("app/app.py", "def handle(event): return 1\n");
    Put("app/lib/part.py", "x = 1\n");
    Put("app/lib/__pycache__/part.pyc", "left by an interpreter");
    fs::permissions(path() / "app/app.py", static_cast<fs::perms>(0640));
    fs::permissions(path() / "app/lib", static_cast<fs::perms>(0710));
    fs::create_symlink("lib/part.py", path() / "app/link.py");
    fs::create_symlink("nowhere", path() / "app/dangling");
  }

  // A compile step in shell: $1 is the code format, $2 the function, $3 the output.
  std::vector<std::string> Step(std::string_view script) {
    return {"/bin/sh", "-ec", std::string(script), "step", "format-7"};
  }

  // The image's files, unpacked.
  fs::path Build(const std::vector<std::string>& command) {
    const fs::path image = path() / "image.erofs";
    const auto built = BuildAppfs(path() / "app", PythonRecipe(), command, image);
    EXPECT_TRUE(built) << built.error().Message();
    fs::path files = path() / fmt::format("files-{}", ++builds_);
    const auto unpacked = RunProgram({"fsck.erofs", "--extract=" + files.string(), image.string()});
    EXPECT_TRUE(unpacked) << unpacked.error().Message();
    return files;
  }

  int builds_ = 0;
};

TEST_F(CompiledAppTest, HasTheFunctionAndWhatTheStepMadeOfIt) {
  const fs::path files = Build(Step(R"(
      mkdir -p "$3/lib/__pycache__"
      umask 077
      mkdir "$3/new"
      cat "$2/lib/part.py" > "$3/lib/__pycache__/part.pyc"
      echo "$1" > "$3/new/format")"));
  EXPECT_EQ(ReadWholeFile(files / "lib/__pycache__/part.pyc").value(), "x = 1\n");
  EXPECT_EQ(ReadWholeFile(files / "new/format").value(), "format-7\n");
  EXPECT_EQ(ReadWholeFile(files / "app.py").value(), "def handle(event): return 1\n");
  EXPECT_EQ(fs::status(files / "app.py").permissions(), static_cast<fs::perms>(0640));
  EXPECT_EQ(fs::status(files / "lib").permissions(), static_cast<fs::perms>(0710));
  EXPECT_EQ(fs::read_symlink(files / "link.py"), "lib/part.py");
  EXPECT_EQ(fs::read_symlink(files / "dangling"), "nowhere");
  EXPECT_EQ(ReadWholeFile(path() / "app/lib/__pycache__/part.pyc").value(), "left by an interpreter");
}

TEST_F(CompiledAppTest, IsReproducible) {
  const auto step = Step(R"(mkdir "$3/__pycache__"; echo code > "$3/__pycache__/app.pyc")");
  ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), step, path() / "one.erofs"));
  Put("app/__pycache__/app.pyc", "left by an interpreter");
  ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), step, path() / "two.erofs"));
  EXPECT_EQ(ReadWholeFile(path() / "one.erofs").value(), ReadWholeFile(path() / "two.erofs").value());
  EXPECT_EQ(std::distance(fs::directory_iterator(path()), fs::directory_iterator()), 3);
}

TEST_F(CompiledAppTest, HasTheSourcesAloneWhereNothingCanBeCompiled) {
  ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), {}, path() / "plain.erofs"));
  const std::vector<std::vector<std::string>> steps = {
      Step(R"(exit 0)"),
      Step(R"(mkdir "$3/half"; echo half > "$3/half/file"; exit 1)"),
      {"/no/such/interpreter", "script", "format-7"},
  };
  for (const auto& step : steps) {
    ASSERT_TRUE(BuildAppfs(path() / "app", PythonRecipe(), step, path() / "image.erofs"));
    EXPECT_EQ(ReadWholeFile(path() / "image.erofs").value(), ReadWholeFile(path() / "plain.erofs").value());
  }
}

TEST_F(ImagesTest, FailedAppImageLeavesNothingBehind) {
  Put("app/other.py", "");
  EXPECT_FALSE(BuildAppfs(path() / "app", PythonRecipe(), {}, path() / "image.erofs"));
  EXPECT_FALSE(fs::exists(path() / "image.erofs"));
  EXPECT_EQ(std::distance(fs::directory_iterator(path()), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace snapfaas::images
