#include "images/initramfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "images/files.h"

namespace snapfaas::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct CpioEntry {
  std::string name;
  uint32_t mode = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  std::string content;
};

// An independent reading of the format, strict about padding and the trailer.
std::vector<CpioEntry> ParseCpio(const std::string& archive) {
  std::vector<CpioEntry> entries;
  size_t at = 0;
  const auto field = [&](size_t index) {
    return static_cast<uint32_t>(std::stoul(archive.substr(at + 6 + 8 * index, 8), nullptr, 16));
  };
  while (at + 110 <= archive.size()) {
    EXPECT_EQ(archive.substr(at, 6), "070701") << "at " << at;
    EXPECT_EQ(at % 4, 0u);
    CpioEntry entry{.name = {}, .mode = field(1), .device_major = field(9), .device_minor = field(10), .content = {}};
    const uint32_t size = field(6);
    const uint32_t name_size = field(11);
    entry.name = archive.substr(at + 110, name_size - 1);
    EXPECT_EQ(archive[at + 110 + name_size - 1], '\0');
    const size_t data = (at + 110 + name_size + 3) / 4 * 4;
    entry.content = archive.substr(data, size);
    at = (data + size + 3) / 4 * 4;
    if (entry.name == "TRAILER!!!") {
      EXPECT_EQ(at, archive.size());
      return entries;
    }
    entries.push_back(entry);
  }
  ADD_FAILURE() << "no trailer";
  return entries;
}

TEST(CpioWriterTest, EntriesComeBackAsTheyWentIn) {
  CpioWriter writer;
  writer.AddDirectory("dev", 0755);
  writer.AddDevice("dev/console", S_IFCHR, 0600, 5, 1);
  for (const char* content : {"", "a", "ab", "abc", "abcd"}) writer.AddFile("init", 0755, content);
  writer.AddSymlink("lib", "usr/lib");
  const auto entries = ParseCpio(writer.Finish());
  ASSERT_EQ(entries.size(), 8u);
  EXPECT_EQ(entries[0].mode, uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(entries[1].mode, uint32_t{S_IFCHR | 0600});
  EXPECT_EQ(entries[1].device_major, 5u);
  EXPECT_EQ(entries[1].device_minor, 1u);
  for (size_t size = 0; size < 5; ++size) EXPECT_EQ(entries[2 + size].content, std::string("abcd").substr(0, size));
  EXPECT_EQ(entries[2].mode, uint32_t{S_IFREG | 0755});
  EXPECT_EQ(entries[7].content, "usr/lib");
  EXPECT_EQ(entries[7].mode & S_IFMT, uint32_t{S_IFLNK});
}

TEST(CpioWriterTest, SameEntriesGiveSameBytes) {
  CpioWriter writer;
  writer.AddFile("a", 0644, "x");
  const std::string first = writer.Finish();
  writer.AddFile("a", 0644, "x");
  EXPECT_EQ(writer.Finish(), first);
}

constexpr char kModulesDep[] =
    "kernel/virtio/virtio_ring.ko:\n"
    "kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n"
    "kernel/block/virtio_blk.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
    "kernel/char/virtio-rng.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n";

TEST(ModuleLoadOrderTest, WhatAModuleNeedsComesBeforeItAndOnce) {
  const auto order = ModuleLoadOrder(ParseModulesDep(kModulesDep), "", {"virtio_blk", "virtio-rng"});
  ASSERT_TRUE(order) << order.error().Message();
  EXPECT_THAT(*order, ElementsAre("kernel/virtio/virtio_ring.ko", "kernel/virtio/virtio.ko",
                                  "kernel/block/virtio_blk.ko", "kernel/char/virtio-rng.ko"));
}

TEST(ModuleLoadOrderTest, DashAndUnderscoreAreTheSame) {
  const auto order = ModuleLoadOrder(ParseModulesDep(kModulesDep), "", {"virtio_rng"});
  ASSERT_TRUE(order) << order.error().Message();
  EXPECT_EQ(order->back(), "kernel/char/virtio-rng.ko");
}

TEST(ModuleLoadOrderTest, BuiltinModulesNeedNothing) {
  const auto order = ModuleLoadOrder(ParseModulesDep(""), "kernel/fs/erofs/erofs.ko\n", {"erofs"});
  ASSERT_TRUE(order) << order.error().Message();
  EXPECT_THAT(*order, IsEmpty());
}

TEST(ModuleLoadOrderTest, UnknownModuleIsNamed) {
  const auto order = ModuleLoadOrder(ParseModulesDep(kModulesDep), "", {"no_such"});
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(order.error().context, HasSubstr("no_such"));
}

TEST(ModuleLoadOrderTest, DependencyWithoutEntryIsAnError) {
  const auto order = ModuleLoadOrder(ParseModulesDep("a.ko: b.ko\n"), "", {"a"});
  ASSERT_FALSE(order);
  EXPECT_THAT(order.error().context, HasSubstr("b.ko"));
}

TEST(ModuleLoadOrderTest, ModulesThatNeedEachOtherAreAnError) {
  const auto order = ModuleLoadOrder(ParseModulesDep("a.ko: b.ko\nb.ko: a.ko\n"), "", {"a"});
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().code, ErrorCode::kCorrupt);
}

class BuildInitramfsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto folder = TemporaryFolder::Create(::testing::TempDir());
    ASSERT_TRUE(folder);
    folder_.emplace(*std::move(folder));
    for (const auto& [name, content] : {std::pair{"init", "the program"}, std::pair{"modules.dep", "fs/erofs.ko:\n"},
                                        std::pair{"modules.builtin", ""}, std::pair{"fs/erofs.ko", "the module"}}) {
      ASSERT_TRUE(MakeFolders((folder_->path() / name).parent_path()));
      ASSERT_TRUE(WriteWholeFile(folder_->path() / name, content));
    }
  }

  std::optional<TemporaryFolder> folder_;
};

TEST_F(BuildInitramfsTest, HoldsInitModulesAndTheirOrder) {
  const auto archive = BuildInitramfs(folder_->path() / "init", folder_->path(), {"erofs"});
  ASSERT_TRUE(archive) << archive.error().Message();
  std::map<std::string, CpioEntry> files;
  for (const auto& entry : ParseCpio(*archive)) files[entry.name] = entry;
  EXPECT_EQ(files["init"].content, "the program");
  EXPECT_EQ(files["init"].mode, uint32_t{S_IFREG | 0755});
  EXPECT_EQ(files["modules/erofs.ko"].content, "the module");
  EXPECT_EQ(files["modules.list"].content, "/modules/erofs.ko\n");
  EXPECT_EQ(files["dev/console"].device_major, 5u);
  EXPECT_EQ(files["dev/mem"].device_major, 1u);
}

TEST_F(BuildInitramfsTest, MissingModuleFileIsNamed) {
  std::filesystem::remove(folder_->path() / "fs/erofs.ko");
  const auto archive = BuildInitramfs(folder_->path() / "init", folder_->path(), {"erofs"});
  ASSERT_FALSE(archive);
  EXPECT_THAT(archive.error().Message(), HasSubstr("erofs.ko"));
}

}  // namespace
}  // namespace snapfaas::images
