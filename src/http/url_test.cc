#include "http/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas::http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Url, EncodesAllButUnreserved) {
  EXPECT_EQ(PercentEncode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(PercentEncode("a b/c:d$\xc3\xa9"), "a%20b%2Fc%3Ad%24%C3%A9");
  EXPECT_EQ(PercentEncode("/a b/", Slash::kKeep), "/a%20b/");
}

TEST(Url, DecodesWhatItEncodes) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  const auto decoded = PercentDecode(PercentEncode(bytes));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, bytes);
}

TEST(Url, BadPercentIsRefused) {
  for (const std::string_view text : {"%", "a%2", "%g0", "%0g", "%%41"}) EXPECT_FALSE(PercentDecode(text)) << text;
  EXPECT_FALSE(SplitPath("/a/%zz"));
  EXPECT_FALSE(ParseQuery("a=%"));
  EXPECT_FALSE(ParseQuery("%=a"));
}

TEST(Url, PathIsSplitBeforeItIsDecoded) {
  const auto segments = SplitPath("/tags/arn%3Aaws%2Fx/+");
  ASSERT_TRUE(segments);
  EXPECT_THAT(*segments, ElementsAre("tags", "arn:aws/x", "+"));
}

TEST(Url, FinalSlashCountsForNothing) {
  EXPECT_THAT(*SplitPath("/"), IsEmpty());
  EXPECT_THAT(*SplitPath("/a/"), ElementsAre("a"));
  EXPECT_THAT(*SplitPath("/a//b"), ElementsAre("a", "", "b"));
  EXPECT_FALSE(SplitPath("a"));
  EXPECT_FALSE(SplitPath(""));
}

TEST(Url, QueryKeepsItsOrder) {
  const auto pairs = ParseQuery("b=2&a=1%262&&a=x+y%2B&flag&e==");
  ASSERT_TRUE(pairs);
  EXPECT_THAT(*pairs,
              ElementsAre(Pair("b", "2"), Pair("a", "1&2"), Pair("a", "x y+"), Pair("flag", ""), Pair("e", "=")));
  EXPECT_EQ(FindQuery(*pairs, "a"), "1&2");
  EXPECT_EQ(FindQuery(*pairs, "c"), std::nullopt);
  EXPECT_THAT(*ParseQuery(""), IsEmpty());
}

}  // namespace
}  // namespace snapfaas::http
