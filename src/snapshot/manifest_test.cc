#include "snapshot/manifest.h"

#include <gtest/gtest.h>

#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

Manifest SomeManifest() {
  Manifest manifest;
  manifest.key = {"python3", 128, 2};
  manifest.sources = SomeSources();
  manifest.created_unix_ms = 1'700'000'000'123;
  manifest.state_bytes = 10'000;
  manifest.state_checksum = 0xfedcba9876543210;
  manifest.memory_bytes = 128_MiB;
  manifest.memory_checksum = 7;
  manifest.stored_bytes = 17_MiB;
  return manifest;
}

Manifest SomeFunctionManifest() {
  Manifest manifest = SomeManifest();
  manifest.key.function = IdentityHash("function");
  manifest.base_checksum = 0x0123456789abcdef;
  return manifest;
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

void ExpectCorrupt(std::string_view text, std::string_view reason) {
  const auto manifest = DecodeManifest(text);
  ASSERT_FALSE(manifest) << text;
  EXPECT_EQ(manifest.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(manifest.error().context.find(reason), std::string::npos) << manifest.error().context;
}

TEST(Manifest, WhatIsEncodedIsDecoded) {
  const auto manifest = DecodeManifest(EncodeManifest(SomeManifest()));
  ASSERT_TRUE(manifest) << manifest.error().Message();
  EXPECT_EQ(*manifest, SomeManifest());
}

TEST(Manifest, OfAFunctionNamesItAndItsBase) {
  const std::string text = EncodeManifest(SomeFunctionManifest());
  EXPECT_NE(text.find("\"function\": \"" + IdentityHash("function") + "\""), std::string::npos);
  EXPECT_NE(text.find("\"base_checksum\": \"0123456789abcdef\""), std::string::npos);
  const auto manifest = DecodeManifest(text);
  ASSERT_TRUE(manifest) << manifest.error().Message();
  EXPECT_EQ(*manifest, SomeFunctionManifest());
}

TEST(Manifest, FunctionWithoutABaseAndBaseWithOneAreCorrupt) {
  Manifest function = SomeFunctionManifest();
  function.base_checksum = 0;
  ExpectCorrupt(EncodeManifest(function), "a function without a base");
  Manifest base = SomeManifest();
  base.base_checksum = 1;
  ExpectCorrupt(EncodeManifest(base), "a function without a base");
}

TEST(Manifest, FunctionThatNamesNoImageIsCorrupt) {
  const std::string text = EncodeManifest(SomeFunctionManifest());
  ExpectCorrupt(Replaced(text, IdentityHash("function"), "../../etc"), "does not name a function's image");
  ExpectCorrupt(Replaced(text, "\"function\"", "\"functions\""), "\"function\" is missing");
  ExpectCorrupt(Replaced(text, "0123456789abcdef", "123456789abcdef"), "\"base_checksum\"");
}

TEST(Manifest, EveryTruncationIsRefused) {
  const std::string text = EncodeManifest(SomeManifest());
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(DecodeManifest(std::string_view(text).substr(0, size))) << size;
  }
}

TEST(Manifest, EveryFlippedBitIsRefused) {
  std::string text = EncodeManifest(SomeManifest());
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    const auto flip = static_cast<char>(1U << (bit % 8));
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ flip);
    EXPECT_FALSE(DecodeManifest(text)) << "bit " << bit;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ flip);
  }
}

TEST(Manifest, AnotherVersionIsIncompatible) {
  const auto text = Replaced(EncodeManifest(SomeManifest()), "\"format_version\": 2", "\"format_version\": 3");
  const auto manifest = DecodeManifest(text);
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code, ErrorCode::kIncompatible);
  EXPECT_NE(manifest.error().context.find("format version 3"), std::string::npos);
}

TEST(Manifest, WhatIsNoJsonObjectIsCorrupt) {
  for (const std::string_view text : {"", "{", "[]", "null", "\"manifest\"", "{} {}"}) {
    ExpectCorrupt(text, "not a JSON object");
  }
}

TEST(Manifest, DeeplyNestedJsonIsCorrupt) { ExpectCorrupt(std::string(60'000, '['), "not a JSON object"); }

TEST(Manifest, TooLongIsCorrupt) {
  ExpectCorrupt(EncodeManifest(SomeManifest()) + std::string(kMaxManifestBytes, ' '), "too long");
}

TEST(Manifest, NoVersionIsCorrupt) { ExpectCorrupt("{}", "no format version"); }

TEST(Manifest, MissingFieldIsNamed) {
  ExpectCorrupt(Replaced(EncodeManifest(SomeManifest()), "\"vcpus\"", "\"vcpu\""), "\"vcpus\" is missing");
}

TEST(Manifest, FieldOfAnotherTypeIsNamed) {
  const std::string text = EncodeManifest(SomeManifest());
  ExpectCorrupt(Replaced(text, "\"vcpus\": 2", "\"vcpus\": \"2\""), "\"vcpus\"");
  ExpectCorrupt(Replaced(text, "\"runtime\": \"python3\"", "\"runtime\": 3"), "\"runtime\"");
  ExpectCorrupt(Replaced(text, "\"vcpus\": 2", "\"vcpus\": -2"), "\"vcpus\"");
  ExpectCorrupt(Replaced(text, "\"vcpus\": 2", "\"vcpus\": 2.5"), "\"vcpus\"");
}

TEST(Manifest, ValueOutOfBoundsIsNamed) {
  const std::string text = EncodeManifest(SomeManifest());
  ExpectCorrupt(Replaced(text, "\"vcpus\": 2", "\"vcpus\": 65"), "\"vcpus\"");
  ExpectCorrupt(Replaced(text, "\"memory_mib\": 128", "\"memory_mib\": 4294967424"), "\"memory_mib\"");
  ExpectCorrupt(Replaced(text, "\"state_bytes\": 10000", "\"state_bytes\": 33554433"), "\"state_bytes\"");
  ExpectCorrupt(Replaced(text, "\"kernel\": \"", "\"kernel\": \"/"), "\"kernel\"");
  ExpectCorrupt(Replaced(text, "\"fedcba9876543210\"", "\"fedcba987654321x\""), "\"state_checksum\"");
}

TEST(Manifest, RuntimeThatWouldLeaveTheFolderIsCorrupt) {
  ExpectCorrupt(Replaced(EncodeManifest(SomeManifest()), "python3", "../etc"), "no name for a runtime");
}

TEST(Manifest, ContradictingMemorySizesAreCorrupt) {
  ExpectCorrupt(Replaced(EncodeManifest(SomeManifest()), "\"memory_mib\": 128", "\"memory_mib\": 256"),
                "memory sizes differ");
}

TEST(Manifest, AlteredValueWithinBoundsIsCaughtByTheChecksum) {
  ExpectCorrupt(Replaced(EncodeManifest(SomeManifest()), "1700000000123", "1700000000124"), "checksum");
}

TEST(SnapshotKey, NamesItsFolder) { EXPECT_EQ((SnapshotKey{"python3", 128, 1}).FolderName(), "python3-128mib-1vcpu"); }

TEST(SnapshotKey, OfAFunctionNamesAFolderBesideItsBases) {
  const SnapshotKey key{"python3", 128, 1, "00112233445566778899aabbccddeeff"};
  EXPECT_EQ(key.FolderName(), "python3-128mib-1vcpu+00112233445566778899aabbccddeeff");
  EXPECT_TRUE(key.Check());
  EXPECT_FALSE(key.IsBase());
  EXPECT_EQ(key.Base(), (SnapshotKey{"python3", 128, 1}));
  EXPECT_TRUE(key.Base().IsBase());
}

TEST(SnapshotKey, RefusesFunctionsThatAreNoImages) {
  for (const char* function : {"x", "00112233445566778899aabbccddeef", "00112233445566778899aabbccddeeff0",
                               "00112233445566778899AABBCCDDEEFF", "../112233445566778899aabbccddeeff"}) {
    EXPECT_FALSE((SnapshotKey{"python3", 128, 1, function}).Check()) << function;
  }
}

TEST(SnapshotKey, RefusesNamesThatAreNoFolderNames) {
  for (const char* name : {"", ".", "..", "a/b", ".hidden", "-x", "a b", "a\n"}) {
    EXPECT_FALSE((SnapshotKey{name, 128, 1}).Check()) << name;
  }
  EXPECT_FALSE((SnapshotKey{std::string(65, 'a'), 128, 1}).Check());
  EXPECT_TRUE((SnapshotKey{std::string(64, 'a'), 128, 1}).Check());
  EXPECT_TRUE((SnapshotKey{"node-18.2_x", 3072, 8}).Check());
  EXPECT_TRUE((SnapshotKey{"R", 128, 1}).Check());
}

TEST(SnapshotKey, RefusesImpossibleSizes) {
  EXPECT_FALSE((SnapshotKey{"c", 0, 1}).Check());
  EXPECT_FALSE((SnapshotKey{"c", 128, 0}).Check());
  EXPECT_FALSE((SnapshotKey{"c", 128, 65}).Check());
}

TEST(IdentityHash, TellsSourcesApart) {
  EXPECT_TRUE(IsIdentityHash(IdentityHash("a")));
  EXPECT_NE(IdentityHash("a"), IdentityHash("b"));
  EXPECT_FALSE(IsIdentityHash("a"));
  EXPECT_FALSE(IsIdentityHash(std::string(32, 'G')));
}

}  // namespace
}  // namespace snapfaas::snapshot
