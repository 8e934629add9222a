#include "gateway/function_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snapfaas::gateway {
namespace {

using ::testing::HasSubstr;

const LambdaPlace kPlace;

TEST(FunctionName, AllItsForms) {
  struct Case {
    std::string_view text, name, qualifier;
  };
  const Case cases[] = {
      {"thumbs", "thumbs", ""},
      {"thumbs:live", "thumbs", "live"},
      {"thumbs:$LATEST", "thumbs", "$LATEST"},
      {"function:thumbs:7", "thumbs", "7"},
      {"function:function", "function", ""},
      {"function", "function", ""},
      {"000000000000:function:thumbs", "thumbs", ""},
      {"000000000000:thumbs:live", "thumbs", "live"},
      {"arn:aws:lambda:us-east-1:000000000000:function:thumbs", "thumbs", ""},
      {"arn:aws:lambda:us-east-1:000000000000:function:thumbs:live", "thumbs", "live"},
      {"arn:aws-us-gov:lambda:us-east-1:000000000000:function:thumbs:$LATEST", "thumbs", "$LATEST"},
  };
  for (const auto& one : cases) {
    const auto parsed = ParseFunctionName(one.text, kPlace);
    ASSERT_TRUE(parsed) << one.text;
    EXPECT_EQ(parsed->name, one.name);
    EXPECT_EQ(parsed->qualifier, one.qualifier);
  }
}

TEST(FunctionName, AnythingElseIsRefusedInLambdasWords) {
  for (const std::string text :
       {"", "a b", "a:b:c", "a:", ":a", "a.b", "arn:aws:lambda:us-east-1:000000000000:function", "arn:aws:s3:::bucket",
        "arn:aws:lambda:us-east-1:1:function:a", "a:$latest", "a/b", "\xff"}) {
    const auto parsed = ParseFunctionName(text, kPlace);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().status, 400);
    EXPECT_EQ(parsed.error().code, "ValidationException");
    EXPECT_THAT(parsed.error().message,
                HasSubstr("1 validation error detected: Value '" + text + "' at 'functionName'"));
  }
  EXPECT_TRUE(ParseFunctionName(std::string(64, 'a'), kPlace));
  EXPECT_FALSE(ParseFunctionName(std::string(65, 'a'), kPlace));
}

TEST(FunctionName, OtherRegionsAndAccountsAreNotHere) {
  const auto region = ParseFunctionName("arn:aws:lambda:eu-west-1:000000000000:function:a", kPlace);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().status, 404);
  const auto account = ParseFunctionName("111122223333:function:a", kPlace);
  ASSERT_FALSE(account);
  EXPECT_EQ(account.error().status, 403);
}

TEST(FunctionName, QualifiersMustAgree) {
  EXPECT_EQ(ParseFunctionName("a", "live", kPlace)->qualifier, "live");
  EXPECT_EQ(ParseFunctionName("a:live", "live", kPlace)->qualifier, "live");
  EXPECT_EQ(ParseFunctionName("a:live", std::nullopt, kPlace)->qualifier, "live");
  const auto differ = ParseFunctionName("a:live", "7", kPlace);
  ASSERT_FALSE(differ);
  EXPECT_EQ(differ.error().code, "InvalidParameterValueException");
  EXPECT_FALSE(ParseFunctionName("a", "li ve", kPlace));
}

TEST(FunctionName, Arns) {
  EXPECT_EQ(FunctionArn(kPlace, "a"), "arn:aws:lambda:us-east-1:000000000000:function:a");
  EXPECT_EQ(FunctionArn({"eu-west-1", "111122223333"}, "a", "$LATEST"),
            "arn:aws:lambda:eu-west-1:111122223333:function:a:$LATEST");
}

}  // namespace
}  // namespace snapfaas::gateway
