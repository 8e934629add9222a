#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace snapfaas {
namespace {

TEST(Result, FailFormatsTheContextAndKeepsTheCode) {
  const Status failed = Fail(ErrorCode::kCorrupt, "{} has {} bytes", "state", 3);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(failed.error().os_errno, 0);
  EXPECT_EQ(failed.error().Message(), "state has 3 bytes");
}

TEST(Result, FailErrnoDerivesTheCodeAndSaysWhatTheSystemSaid) {
  const Status failed = FailErrno(ENOSPC, "writing {}", "memory");
  EXPECT_EQ(failed.error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(failed.error().os_errno, ENOSPC);
  EXPECT_EQ(failed.error().Message(), "writing memory: No space left on device");
}

TEST(Result, ErrnosMapToWhatACallerCanDecideOn) {
  EXPECT_EQ(FailErrno(ENOENT, "x").value().code, ErrorCode::kNotFound);
  EXPECT_EQ(FailErrno(EEXIST, "x").value().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(FailErrno(EACCES, "x").value().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(FailErrno(EMFILE, "x").value().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(FailErrno(ETIMEDOUT, "x").value().code, ErrorCode::kTimedOut);
  EXPECT_EQ(FailErrno(EIO, "x").value().code, ErrorCode::kSystem);
}

TEST(Result, ForwardKeepsCodeAndErrnoAndPutsTheContextBefore) {
  const Result<int> inner = FailErrno(ENOENT, "opening a");
  const Status outer = Forward(inner.error(), "snapshot b");
  EXPECT_EQ(outer.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(outer.error().os_errno, ENOENT);
  EXPECT_EQ(outer.error().context, "snapshot b: opening a");
}

TEST(Result, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::kSystem); ++code) {
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::kSystem) + 1);
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace snapfaas
