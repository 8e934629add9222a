// <state>/run/host.json: which process the running emulated host is, and how to reach it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "host/process.h"

namespace snapfaas::host {

struct HostRecord {
  ProcessId process;
  uint16_t port = 0;
  uint64_t memory_mib = 0;
  int64_t started_unix = 0;
};

std::string EncodeHostRecord(const HostRecord& record);
// kCorrupt for anything that EncodeHostRecord did not write.
Result<HostRecord> DecodeHostRecord(std::string_view text);

// A file of mode 0600, complete under its name or not there at all.
Status WritePrivateFile(const std::filesystem::path& path, std::string_view content);
// The whole file, 64 KiB at most; kNotFound when there is none.
Result<std::string> ReadPrivateFile(const std::filesystem::path& path);

}  // namespace snapfaas::host
