// Real archives, made with libarchive, and real images, made with mkfs.erofs.
#include "node/deployer.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "images/files.h"
#include "images/process.h"
#include "node/unpacker.h"

namespace snapfaas::node {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Item {
  std::string path;
  std::string content;
  mode_t type = AE_IFREG;  // of a link, `content` is its target
  mode_t mode = 0644;
};

class DeployerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto folder = images::TemporaryFolder::Create(::testing::TempDir());
    ASSERT_TRUE(folder) << folder.error().Message();
    folder_.emplace(*std::move(folder));
    runtime_.recipe.name = "python3";
    runtime_.recipe.handler_files = {"app.py"};
  }

  fs::path Path(const std::string& name) const { return folder_->path() / name; }
  fs::path Node() const { return Path("node"); }

  fs::path Zip(const std::vector<Item>& items, const char* options = "") {
    fs::path path = Path("code-" + std::to_string(++zips_) + ".zip");
    const std::unique_ptr<archive, int (*)(archive*)> out(::archive_write_new(), &::archive_write_free);
    EXPECT_EQ(::archive_write_set_format_zip(out.get()), ARCHIVE_OK);
    EXPECT_EQ(::archive_write_set_options(out.get(), options), ARCHIVE_OK);
    ::archive_write_set_passphrase(out.get(), "secret");
    EXPECT_EQ(::archive_write_open_filename(out.get(), path.c_str()), ARCHIVE_OK);
    for (const Item& item : items) Add(out.get(), item);
    EXPECT_EQ(::archive_write_close(out.get()), ARCHIVE_OK);
    return path;
  }

  static void Add(archive* out, const Item& item) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), &::archive_entry_free);
    ::archive_entry_set_pathname(entry.get(), item.path.c_str());
    ::archive_entry_set_filetype(entry.get(), item.type);
    ::archive_entry_set_perm(entry.get(), item.mode);
    if (item.type == AE_IFLNK) ::archive_entry_set_symlink(entry.get(), item.content.c_str());
    if (item.type == AE_IFREG) ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(item.content.size()));
    EXPECT_EQ(::archive_write_header(out, entry.get()), ARCHIVE_OK) << ::archive_error_string(out);
    if (item.type != AE_IFREG) return;
    EXPECT_EQ(::archive_write_data(out, item.content.data(), item.content.size()),
              static_cast<la_ssize_t>(item.content.size()));
  }

  Deployer Open() {
    auto deployer = Deployer::Open(Node());
    EXPECT_TRUE(deployer) << deployer.error().Message();
    return *std::move(deployer);
  }

  // What is wrong with an archive of these.
  std::string Complaint(const std::vector<Item>& items) {
    const auto checked = CheckZip(Zip(items));
    if (checked) return "";
    EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
    return checked.error().Message();
  }

  // The image's files.
  fs::path Extract(const DeployedImage& image) {
    fs::path folder = Path("out");
    const auto ran = images::RunProgram({"fsck.erofs", "--extract=" + folder.string(), image.path.string()});
    EXPECT_TRUE(ran) << ran.error().Message();
    return folder;
  }

  static std::string Content(const fs::path& path) {
    auto content = images::ReadWholeFile(path);
    return content ? *content : content.error().Message();
  }

  static std::vector<std::string> Names(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
    return names;
  }

  images::RuntimeImages runtime_;
  FunctionImageConfig config_{.handler = "app.handler",
                              .environment = {{"KEY", "value"}},
                              .function = "f",
                              .version = "$LATEST",
                              .memory_mib = 128,
                              .region = "us-east-1",
                              .arn = "arn:f"};
  std::optional<images::TemporaryFolder> folder_;
  int zips_ = 0;
};

TEST_F(DeployerTest, ImageHoldsTheCodeAndItsConfiguration) {
  const auto zip = Zip({{"app.py", "def handler(e, c): pass\n"},
                        {"lib", "", AE_IFDIR, 0755},
                        {"lib/tool", "#!/bin/sh\n", AE_IFREG, 0755},
                        {"lib/link", "../app.py", AE_IFLNK},
                        {"deep/er/größe.txt", "without folders of its own"}});
  EXPECT_TRUE(CheckZip(zip));
  const auto image = Open().MakeImage(zip, config_, runtime_);
  ASSERT_TRUE(image) << image.error().Message();
  EXPECT_EQ(image->path, Node() / "images" / (image->hash + ".erofs"));
  EXPECT_EQ(image->bytes, fs::file_size(image->path));
  const fs::path files = Extract(*image);
  EXPECT_EQ(Content(files / "app.py"), "def handler(e, c): pass\n");
  EXPECT_EQ(Content(files / "deep/er/größe.txt"), "without folders of its own");
  EXPECT_EQ(fs::read_symlink(files / "lib/link"), "../app.py");
  EXPECT_EQ(fs::status(files / "lib/tool").permissions(), fs::perms{0755});
  EXPECT_EQ(fs::status(files / "app.py").permissions(), fs::perms{0644});
  const auto configuration = nlohmann::json::parse(Content(files / ".snapfaas/function.json"), nullptr, false);
  EXPECT_EQ(configuration["handler"], "app.handler");
  EXPECT_EQ(configuration["environment"]["KEY"], "value");
  EXPECT_EQ(configuration["memorySize"], 128);
  EXPECT_THAT(Names(Node() / "tmp"), IsEmpty());
}

TEST_F(DeployerTest, SameInputGivesTheSameImageAndAnotherAnotherOne) {
  const auto zip = Zip({{"b.py", "b"}, {"a/a.py", "a"}});
  Deployer deployer = Open();
  const auto one = deployer.MakeImage(zip, config_, runtime_);
  const mode_t mask = ::umask(0077);
  const auto same = deployer.MakeImage(zip, config_, runtime_);
  ::umask(mask);
  ASSERT_TRUE(one && same);
  EXPECT_EQ(one->hash, same->hash);
  config_.environment["KEY"] = "other";
  const auto other = deployer.MakeImage(zip, config_, runtime_);
  ASSERT_TRUE(other);
  EXPECT_NE(one->hash, other->hash);
}

TEST_F(DeployerTest, ArchiveCannotBringAConfigurationOfItsOwn) {
  const auto zip = Zip({{".snapfaas/function.json", "{}"}, {".snapfaas/more", ""}});
  const auto image = Open().MakeImage(zip, config_, runtime_);
  ASSERT_TRUE(image) << image.error().Message();
  const fs::path files = Extract(*image);
  EXPECT_THAT(Content(files / ".snapfaas/function.json"), HasSubstr("app.handler"));
  EXPECT_FALSE(fs::exists(files / ".snapfaas/more"));
}

TEST_F(DeployerTest, LaterEntryOfOnePathTakesThePlaceOfTheEarlier) {
  ASSERT_TRUE(Unpack(Zip({{"a", "old"}, {"./a", "new"}}), Path("out")));
  EXPECT_EQ(Content(Path("out") / "a"), "new");
}

TEST_F(DeployerTest, NothingIsWrittenThroughALink) {
  const auto unpacked = Unpack(Zip({{"real/x", "old"}, {"link", "real", AE_IFLNK}, {"link/x", "new"}}), Path("out"));
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Content(Path("out") / "real/x"), "old");
}

TEST_F(DeployerTest, PathsThatLeadOutAreRefused) {
  EXPECT_THAT(Complaint({{"../x", ""}}), HasSubstr("\"../x\" leads out"));
  EXPECT_THAT(Complaint({{"a/../../x", ""}}), HasSubstr("leads out"));
  EXPECT_THAT(Complaint({{"/etc/passwd", ""}}), HasSubstr("absolute path \"/etc/passwd\""));
  EXPECT_THAT(Complaint({{std::string(300, 'n'), ""}}), HasSubstr("more than 255 bytes"));
}

TEST_F(DeployerTest, LinksThatLeadOutAreRefused) {
  EXPECT_THAT(Complaint({{"a/link", "../../x", AE_IFLNK}}), HasSubstr("symbolic link \"a/link\" leads out"));
  EXPECT_THAT(Complaint({{"link", "/etc/passwd", AE_IFLNK}}), HasSubstr("leads out"));
  EXPECT_THAT(Complaint({{"link", "a/../../b", AE_IFLNK}}), HasSubstr("leads out"));
  EXPECT_EQ(Complaint({{"a/b/link", "../../c/./d", AE_IFLNK}}), "");
}

TEST_F(DeployerTest, WhatIsNoArchiveIsRefused) {
  const fs::path text = Path("text.zip");
  ASSERT_TRUE(images::WriteWholeFile(text, std::string(1000, 't')));
  EXPECT_THAT(CheckZip(text).error().Message(), HasSubstr("not a whole zip archive"));
  EXPECT_THAT(Complaint({}), HasSubstr("the archive is empty"));
  EXPECT_EQ(CheckZip(Path("nowhere.zip")).error().code, ErrorCode::kNotFound);
}

TEST_F(DeployerTest, CutOrAlteredArchiveIsRefused) {
  const auto zip = Zip({{"app.py", std::string(10'000, 'x')}}, "zip:compression=store");
  std::string bytes = Content(zip);
  const size_t half = bytes.size() / 2;
  const fs::path altered = Path("altered.zip");
  bytes[half] = 'y';
  ASSERT_TRUE(images::WriteWholeFile(altered, bytes));
  EXPECT_THAT(CheckZip(altered).error().Message(), HasSubstr("CRC"));
  const auto image = Open().MakeImage(altered, config_, runtime_);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(Names(Node() / "images"), IsEmpty());
  EXPECT_THAT(Names(Node() / "tmp"), IsEmpty());
  ASSERT_TRUE(images::WriteWholeFile(altered, bytes.substr(0, half)));
  EXPECT_FALSE(CheckZip(altered));
}

TEST_F(DeployerTest, EncryptedArchiveIsRefused) {
  const auto checked = CheckZip(Zip({{"app.py", "secret"}}, "zip:encryption=zipcrypt"));
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().Message(), HasSubstr("encrypted"));
}

TEST_F(DeployerTest, ArchiveOfTooManyBytesIsRefused) {
  const fs::path zip = Path("large.zip");
  ASSERT_TRUE(images::WriteWholeFile(zip, "PK"));
  fs::resize_file(zip, ZipLimits().zip_bytes + 1);
  EXPECT_THAT(CheckZip(zip).error().Message(), HasSubstr("at most 52428800 can be deployed"));
}

TEST_F(DeployerTest, ArchiveThatUnpacksToTooMuchIsRefused) {
  const auto zip = Zip({{"a", std::string(600, '\0')}, {"b", std::string(400, '\0')}});
  ZipLimits limits;
  EXPECT_EQ(limits.unzipped_bytes, 262'144'000u);
  limits.unzipped_bytes = 1000;
  EXPECT_TRUE(ForEachFile(zip, nullptr, limits));
  limits.unzipped_bytes = 999;
  EXPECT_THAT(ForEachFile(zip, nullptr, limits).error().Message(), HasSubstr("Unzipped size must be smaller than 999"));
  limits = ZipLimits();
  limits.entries = 1;
  EXPECT_THAT(ForEachFile(zip, nullptr, limits).error().Message(), HasSubstr("more than 1 files"));
}

TEST_F(DeployerTest, SweepKeepsWhatIsReferredToOrHeld) {
  Deployer deployer = Open();
  std::vector<std::string> hashes;
  std::optional<DeployedImage> held;
  for (const char* content : {"kept", "held", "neither"}) {
    auto image = deployer.MakeImage(Zip({{"app.py", content}}), config_, runtime_);
    ASSERT_TRUE(image);
    hashes.push_back(image->hash);
    if (std::string_view(content) == "held") held = *image;
  }
  EXPECT_EQ(*deployer.Sweep({hashes[0]}), 1u);
  EXPECT_TRUE(deployer.Find(hashes[0]));
  EXPECT_TRUE(deployer.Find(hashes[1]));
  EXPECT_EQ(deployer.Find(hashes[2]).error().code, ErrorCode::kNotFound);
  held.reset();
  EXPECT_EQ(*deployer.Sweep({hashes[0]}), 1u);
  EXPECT_EQ(Names(Node() / "images"), std::vector<std::string>{hashes[0] + ".erofs"});
}

TEST_F(DeployerTest, OnlyHashesNameImages) {
  EXPECT_EQ(Open().Find("../registry").error().code, ErrorCode::kInvalidArgument);
}

TEST_F(DeployerTest, WhatAnEarlierProcessLeftHalfMadeIsRemoved) {
  ASSERT_TRUE(images::MakeFolders(Node() / "tmp/.tmp-abc/code"));
  Open();
  EXPECT_THAT(Names(Node() / "tmp"), IsEmpty());
}

// As a full disk: files cannot grow beyond a bound.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST_F(DeployerTest, WhatCannotBeWrittenLeavesNothingBehind) {
  const auto zip = Zip({{"a", std::string(100'000, 'a')}, {"b", std::string(100'000, 'b')}});
  Deployer deployer = Open();
  // Too small to unpack; and enough to unpack, but not for the image.
  for (const rlim_t bytes : {50'000u, 150'000u}) {
    const FileSizeLimit limit(bytes);
    const auto image = deployer.MakeImage(zip, config_, runtime_);
    ASSERT_FALSE(image);
    EXPECT_THAT(image.error().Message(), AnyOf(HasSubstr("File too large"), HasSubstr("is full")));
  }
  EXPECT_THAT(Names(Node() / "images"), IsEmpty());
  EXPECT_THAT(Names(Node() / "tmp"), IsEmpty());
  EXPECT_TRUE(deployer.MakeImage(zip, config_, runtime_));
}

}  // namespace
}  // namespace snapfaas::node
