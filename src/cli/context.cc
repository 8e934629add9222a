#include "cli/context.h"

#include <cstdio>
#include <string_view>
#include <system_error>

#include "cli/environment.h"

namespace snapfaas::cli {
namespace {

// The XDG base directory specification: an environment variable that is empty counts as unset, and relative paths in
// XDG_DATA_HOME are to be ignored.
Result<std::filesystem::path> ChooseDataDir(const std::string& data_option) {
  if (!data_option.empty()) return std::filesystem::path(data_option);
  if (const auto own = Environment("SNAPFAAS_DATA"); !own.empty()) return std::filesystem::path(own);
  if (const auto xdg = Environment("XDG_DATA_HOME"); xdg.starts_with('/')) {
    return std::filesystem::path(xdg) / "snapfaas";
  }
  if (const auto home = Environment("HOME"); !home.empty()) {
    return std::filesystem::path(home) / ".local/share/snapfaas";
  }
  return Fail(ErrorCode::kInvalidArgument, "no place for data: HOME is not set; give --data DIR or set SNAPFAAS_DATA");
}

}  // namespace

Result<std::filesystem::path> ExecutablePath() {
  std::error_code failure;
  auto path = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (failure) return FailErrno(failure.value(), "finding the path of this program in /proc/self/exe");
  return path;
}

Result<Context> MakeContext(const std::string& data_option) {
  auto executable = ExecutablePath();
  if (!executable) return Forward(executable.error());
  auto chosen = ChooseDataDir(data_option);
  if (!chosen) return Forward(chosen.error());
  std::error_code failure;
  auto data_dir = std::filesystem::absolute(*chosen, failure).lexically_normal();
  if (failure) return FailErrno(failure.value(), "making {} absolute", chosen->string());
  Context context;
  context.data_dir = std::move(data_dir);
  context.bin_dir = executable->parent_path();
  context.share_dir = context.bin_dir.parent_path() / "share" / "snapfaas";
  return context;
}

int ReportFailure(const Error& error) {
  fmt::print(stderr, "snapfaas: {}\n", error.Message());
  return kExitFailure;
}

}  // namespace snapfaas::cli
