#include "images/function_packages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/scratch_folder_for_tests.h"
#include "images/files.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(PackageListTest, HasAPackageALine) {
  const auto packages =
      ParsePackageList("# what it needs\npython3-numpy\n\n  libgtk-4-1 # why\r\ng++=4:12.2.0-3~a\ng++=4:12.2.0-3~a");
  ASSERT_TRUE(packages);
  EXPECT_THAT(*packages, ElementsAre("g++=4:12.2.0-3~a", "libgtk-4-1", "python3-numpy"));
  EXPECT_THAT(*ParsePackageList(""), IsEmpty());
}

TEST(PackageListTest, WhatIsNoPackageIsNamedByItsLine) {
  for (const char* line : {"-o", "--simulate", "a", "Numpy", "numpy scipy", "numpy=", "numpy=1 2", "../x", "numpy/sid",
                           "ab;c", "numpy-\xc3\xa4"}) {
    const auto packages = ParsePackageList(std::string("fine\n") + line);
    ASSERT_FALSE(packages) << line;
    EXPECT_EQ(packages.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(packages.error().Message(), HasSubstr("line 2"));
  }
}

TEST(SimulationTest, NamesTheFilesOfWhatIsInstalled) {
  EXPECT_THAT(
      ParseSimulation("Reading package lists...\n"
                      "Inst libblas3 (3.11.0-2 Debian:12.5/stable [amd64])\n"
                      "Inst zlib1g [1:1.2.11] (1:1.2.13.dfsg-1 Debian:12.1/stable, Debian-Security:12 [amd64]) []\n"
                      "Inst python3-pil:amd64 (9.4.0-1.1+b1 Debian:12.5/stable [amd64])\n"
                      "Inst fonts-x (1.0 Debian:12.5/stable [all])\n"
                      "Inst broken\nInst other (1\n"
                      "Conf libblas3 (3.11.0-2 Debian:12.5/stable [amd64])\n"),
      ElementsAre("libblas3_3.11.0-2_amd64.deb", "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb",
                  "python3-pil_9.4.0-1.1+b1_amd64.deb", "fonts-x_1.0_all.deb"));
}

class PackageTreeTest : public ::testing::Test {
 protected:
  void Put(const fs::path& name, std::string_view content = "") {
    ASSERT_TRUE(MakeFolders((tree() / name).parent_path()));
    ASSERT_TRUE(WriteWholeFile(tree() / name, content));
  }
  const fs::path& tree() const { return scratch_.path(); }

  ScratchFolder scratch_;
};

TEST_F(PackageTreeTest, TopFoldersAreInUsr) {
  Put("bin/tool", "tool");
  Put("lib/x86_64-linux-gnu/libone.so.1", "one");
  fs::create_symlink("libone.so.1", tree() / "lib/x86_64-linux-gnu/libone.so");
  Put("usr/lib/x86_64-linux-gnu/libtwo.so.2");
  Put("usr/share/doc/one/copyright");
  ASSERT_TRUE(SettlePackageTree(tree()));
  EXPECT_EQ(*ReadWholeFile(tree() / "usr/bin/tool"), "tool");
  EXPECT_EQ(*ReadWholeFile(tree() / "usr/lib/x86_64-linux-gnu/libone.so"), "one");
  EXPECT_TRUE(fs::is_symlink(tree() / "usr/lib/x86_64-linux-gnu/libone.so"));
  for (const char* gone : {"bin", "lib", "usr/share/doc"}) EXPECT_FALSE(fs::exists(tree() / gone)) << gone;
}

TEST_F(PackageTreeTest, LibrariesOfAlternativesAreFoundByTheirNames) {
  Put("usr/lib/x86_64-linux-gnu/blas/libblas.so.3", "blas");
  Put("usr/lib/x86_64-linux-gnu/blas/readme");
  Put("usr/lib/x86_64-linux-gnu/other/libown.so", "other");
  Put("usr/lib/x86_64-linux-gnu/libown.so", "own");
  ASSERT_TRUE(SettlePackageTree(tree()));
  EXPECT_EQ(fs::read_symlink(tree() / "usr/lib/x86_64-linux-gnu/libblas.so.3"), "blas/libblas.so.3");
  EXPECT_EQ(*ReadWholeFile(tree() / "usr/lib/x86_64-linux-gnu/libown.so"), "own");
  EXPECT_FALSE(fs::exists(tree() / "usr/lib/x86_64-linux-gnu/readme"));
}

TEST_F(PackageTreeTest, OfAFunctionThatAsksForNoneThereIsNothing) {
  const PackageSource source{tree() / "packages", tree() / "status"};
  EXPECT_FALSE(*FetchFunctionPackages(tree(), source, {}));
  Put(kPackageListFile, "# none\n");
  EXPECT_FALSE(*FetchFunctionPackages(tree(), source, {}));
  Put(kPackageListFile, "python3-numpy\n");
  EXPECT_FALSE(*FetchFunctionPackages(tree(), {}, {}));
  EXPECT_FALSE(FetchFunctionPackages(tree(), source, {})) << "the runtime has no status";
}

}  // namespace
}  // namespace snapfaas::images
