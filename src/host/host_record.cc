#include "host/host_record.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/json.h"
#include "base/unique_fd.h"

namespace snapfaas::host {

std::string EncodeHostRecord(const HostRecord& record) {
  return nlohmann::json{{"pid", record.process.pid},
                        {"start_ticks", record.process.start_ticks},
                        {"port", record.port},
                        {"memory_mib", record.memory_mib},
                        {"started_unix", record.started_unix}}
      .dump();
}

Result<HostRecord> DecodeHostRecord(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto number = [&](const char* name) -> int64_t {
    const auto field = json.is_object() ? json.find(name) : json.end();
    return field != json.end() && field->is_number_integer() ? field->get<int64_t>() : -1;
  };
  const int64_t pid = number("pid");
  const int64_t start_ticks = number("start_ticks");
  const int64_t port = number("port");
  const int64_t memory_mib = number("memory_mib");
  const int64_t started = number("started_unix");
  constexpr int64_t kMostPid = 1 << 22;  // PID_MAX_LIMIT
  if (pid <= 1 || pid > kMostPid || start_ticks < 0 || port <= 0 || port > UINT16_MAX || memory_mib < 0 ||
      started < 0) {
    return Fail(ErrorCode::kCorrupt, "the record of the running emulated host is damaged");
  }
  return HostRecord{{static_cast<pid_t>(pid), static_cast<uint64_t>(start_ticks)},
                    static_cast<uint16_t>(port),
                    static_cast<uint64_t>(memory_mib),
                    started};
}

Status WritePrivateFile(const std::filesystem::path& path, std::string_view content) {
  const std::string temporary = path.string() + ".new";
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return FailErrno(errno, "making {}", temporary);
  if (::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return FailErrno(errno, "writing {}", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FailErrno(errno, "making {}", path.string());
  return {};
}

Result<std::string> ReadPrivateFile(const std::filesystem::path& path) {
  constexpr size_t kMostBytes = size_t{64} << 10;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno(errno, "opening {}", path.string());
  std::string content(kMostBytes, '\0');
  const ssize_t n = ::read(file.get(), content.data(), content.size());
  if (n < 0) return FailErrno(errno, "reading {}", path.string());
  content.resize(static_cast<size_t>(n));
  return content;
}

}  // namespace snapfaas::host
