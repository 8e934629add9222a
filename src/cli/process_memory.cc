#include "cli/process_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

namespace snapfaas::cli {
namespace {

Result<std::string> ReadProcFile(const std::string& path) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.empty()) return Fail(ErrorCode::kSystem, "{} cannot be read", path);
  return text;
}

std::optional<uint64_t> NumberAt(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc()) return std::nullopt;
  return number;
}

// Of a line "Field:   123 kB".
Result<uint64_t> FieldKib(std::string_view text, std::string_view field) {
  const std::string begin = fmt::format("{}:", field);
  size_t at = text.starts_with(begin) ? 0 : text.find("\n" + begin);
  if (at != std::string_view::npos) {
    const auto kib = NumberAt(text.substr(text.find(':', at) + 1));
    if (kib) return *kib;
  }
  return Fail(ErrorCode::kCorrupt, "there is no {} in it", field);
}

}  // namespace

Result<ProcessMemory> ParseSmaps(std::string_view smaps_rollup) {
  ProcessMemory memory;
  const std::array<std::pair<std::string_view, uint64_t*>, 7> fields = {{
      {"Rss", &memory.resident_kib},
      {"Pss", &memory.proportional_kib},
      {"Private_Clean", &memory.private_kib},
      {"Private_Dirty", &memory.private_kib},
      {"Shared_Clean", &memory.shared_kib},
      {"Shared_Dirty", &memory.shared_kib},
      {"Anonymous", &memory.anonymous_kib},
  }};
  for (const auto& [field, sum] : fields) {
    auto kib = FieldKib(smaps_rollup, field);
    if (!kib) return Forward(kib.error());
    *sum += *kib;
  }
  return memory;
}

Result<ProcessMemory> MemoryOf(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/smaps_rollup", pid);
  auto text = ReadProcFile(path);
  if (!text) return Forward(text.error());
  auto memory = ParseSmaps(*text);
  if (!memory) return Forward(memory.error(), path);
  return memory;
}

// "pid (name) state ppid pgrp session tty tpgid flags minflt cminflt majflt ...", proc(5); a name may hold anything.
Result<uint64_t> ParseFaults(std::string_view stat) {
  constexpr int kMinorFaults = 8;  // words after the name
  constexpr int kMajorFaults = 10;
  const auto corrupt = [] { return Fail(ErrorCode::kCorrupt, "it does not count page faults"); };
  size_t at = stat.rfind(") ");
  if (at == std::string_view::npos) return corrupt();
  uint64_t faults = 0;
  ++at;
  for (int word = 1; word <= kMajorFaults; ++word) {
    if (word == kMinorFaults || word == kMajorFaults) {
      const auto number = NumberAt(stat.substr(at));
      if (!number) return corrupt();
      faults += *number;
    }
    at = stat.find(' ', at + 1);
    if (at == std::string_view::npos) return corrupt();
  }
  return faults;
}

Result<uint64_t> FaultsOf(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/stat", pid);
  auto text = ReadProcFile(path);
  if (!text) return Forward(text.error());
  auto faults = ParseFaults(*text);
  if (!faults) return Forward(faults.error(), path);
  return faults;
}

Result<uint64_t> ParseAvailableKib(std::string_view meminfo) { return FieldKib(meminfo, "MemAvailable"); }

Result<uint64_t> AvailableKib() {
  auto text = ReadProcFile("/proc/meminfo");
  if (!text) return Forward(text.error());
  auto kib = ParseAvailableKib(*text);
  if (!kib) return Forward(kib.error(), "/proc/meminfo");
  return kib;
}

}  // namespace snapfaas::cli
