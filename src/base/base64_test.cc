#include "base/base64.h"

#include <gtest/gtest.h>

#include <utility>

namespace snapfaas {
namespace {

// RFC 4648, section 10.
TEST(Base64, VectorsOfTheSpec) {
  const std::pair<std::string_view, std::string_view> vectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(EncodeBase64(bytes), text);
    const auto decoded = DecodeBase64(text);
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(*decoded, bytes);
  }
}

TEST(Base64, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const auto decoded = DecodeBase64(EncodeBase64(bytes.substr(0, size)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, bytes.substr(0, size));
  }
}

TEST(Base64, GarbageIsRefused) {
  for (const std::string_view text :
       {"A", "Zg=", "Zg===", "====", "Zg==Zg==", "Z===", "Zm9v\n", "Zm 9", "Zm-_", "Zh==", "Zm9=", "=m9v", "Z=9v"}) {
    const auto decoded = DecodeBase64(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace snapfaas
