#include "node/node_config.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <sstream>
#include <variant>

namespace snapfaas::node {
namespace {

using Member = std::variant<uint64_t NodeConfig::*, std::string NodeConfig::*, bool NodeConfig::*>;

struct Setting {
  std::string_view section;
  std::string_view name;
  std::string_view comment;
  Member member;
  uint64_t least = 0;
  uint64_t most = 0;
};

constexpr uint64_t kMany = 1'000'000'000;

const Setting kSettings[] = {
    {"gateway", "address", "where the node listens; all but loopback needs credentials", &NodeConfig::address},
    {"gateway", "port", "0: any that is free", &NodeConfig::port, 0, 65'535},
    {"gateway", "threads", "that serve connections", &NodeConfig::threads, 1, 64},
    {"gateway", "access_key_id", "with it, requests must be signed (AWS Signature Version 4)",
     &NodeConfig::access_key_id},
    {"gateway", "secret_access_key", "", &NodeConfig::secret_access_key},
    {"gateway", "region", "as it stands in ARNs and in signatures", &NodeConfig::region},
    {"gateway", "account", "as it stands in ARNs", &NodeConfig::account},
    {"memory", "budget_mib", "MiB for all microVMs together; 0: what the host has to spare when the node starts",
     &NodeConfig::budget_mib, 0, kMany},
    {"memory", "overhead_mib", "MiB that each microVM is reckoned to take beside its memory", &NodeConfig::overhead_mib,
     0, 1024},
    {"microvms", "vcpus", "of each microVM", &NodeConfig::vcpus, 1, 8},
    {"microvms", "idle_seconds", "an idle microVM is kept so long", &NodeConfig::idle_seconds, 0, kMany},
    {"microvms", "launches", "that may be under way at a time; 0: two for each CPU", &NodeConfig::launches, 0, 1024},
    {"microvms", "shells", "prepared VMMs of each kind in use that wait for a restore", &NodeConfig::shells, 0, 64},
    {"microvms", "shells_in_all", "of all kinds together", &NodeConfig::shells_in_all, 0, 256},
    {"microvms", "spares", "start a microVM beforehand for a function that is called at regular intervals",
     &NodeConfig::spares},
    {"requests", "queue_per_function", "requests that may wait for one function; more are answered by 429",
     &NodeConfig::queue_per_function, 0, 1'000'000},
    {"requests", "queue_in_all", "that may wait for all functions together", &NodeConfig::queue_in_all, 0, 1'000'000},
    {"requests", "queue_seconds", "a request waits so long, then it is answered by 429", &NodeConfig::queue_seconds, 1,
     3'600},
    {"events", "at_a_time", "asynchronous events that are worked on at a time", &NodeConfig::events_at_a_time, 1, 1024},
    {"events", "retries", "of an event whose function failed, unless the function says otherwise",
     &NodeConfig::event_retries, 0, 2},
    {"events", "retry_seconds", "before the first retry; twice as long before the next",
     &NodeConfig::event_retry_seconds, 1, 3'600},
    {"events", "hours", "an event is given up after so long", &NodeConfig::event_hours, 1, 24},
    {"snapshots", "functions", "whether functions get snapshots of their own (SnapStart decides for each)",
     &NodeConfig::function_snapshots},
    {"snapshots", "disk_mib", "on disk; beyond it, function snapshots not used for the longest go",
     &NodeConfig::snapshot_disk_mib, 0, kMany},
    {"logs", "mib", "of each function's log before it is rotated; one older file is kept", &NodeConfig::log_mib, 1,
     10'240},
};

const Setting* FindSetting(std::string_view section, std::string_view name) {
  for (const Setting& setting : kSettings) {
    if (setting.section == section && setting.name == name) return &setting;
  }
  return nullptr;
}

std::string Where(std::string_view file, const toml::source_region& source) {
  return fmt::format("{}:{}", file, source.begin.line);
}

Status Take(NodeConfig& config, const Setting& setting, const toml::node& node, std::string_view file) {
  const auto wrong = [&](std::string_view expected) {
    return Fail(ErrorCode::kInvalidArgument, "{}: {}.{} must be {}", Where(file, node.source()), setting.section,
                setting.name, expected);
  };
  if (const auto* text = std::get_if<std::string NodeConfig::*>(&setting.member)) {
    const auto value = node.value_exact<std::string>();
    if (!value) return wrong("a text");
    config.** text = *value;
  } else if (const auto* flag = std::get_if<bool NodeConfig::*>(&setting.member)) {
    const auto value = node.value_exact<bool>();
    if (!value) return wrong("true or false");
    config.** flag = *value;
  } else {
    const auto value = node.value_exact<int64_t>();
    if (!value || *value < 0 || static_cast<uint64_t>(*value) < setting.least ||
        static_cast<uint64_t>(*value) > setting.most) {
      return wrong(fmt::format("a whole number from {} to {}", setting.least, setting.most));
    }
    config.*std::get<uint64_t NodeConfig::*>(setting.member) = static_cast<uint64_t>(*value);
  }
  return {};
}

Status TakeSection(NodeConfig& config, std::string_view section, const toml::table& table, std::string_view file) {
  for (const auto& [key, node] : table) {
    const Setting* setting = FindSetting(section, key.str());
    if (setting == nullptr) {
      return Fail(ErrorCode::kInvalidArgument,
                  "{}: there is no setting {}.{}; `snapfaas config` prints those there are", Where(file, node.source()),
                  section, key.str());
    }
    auto taken = Take(config, *setting, node, file);
    if (!taken) return taken;
  }
  return {};
}

Status CheckTogether(const NodeConfig& config, std::string_view file) {
  if (config.access_key_id.empty() != config.secret_access_key.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "{}: gateway.access_key_id and gateway.secret_access_key go together",
                file);
  }
  return {};
}

std::string Print(const NodeConfig& config, const Setting& setting) {
  if (const auto* text = std::get_if<std::string NodeConfig::*>(&setting.member)) {
    std::ostringstream quoted;
    quoted << toml::value<std::string>(config.**text);
    return quoted.str();
  }
  if (const auto* flag = std::get_if<bool NodeConfig::*>(&setting.member)) return config.**flag ? "true" : "false";
  return fmt::format("{}", config.*std::get<uint64_t NodeConfig::*>(setting.member));
}

}  // namespace

Result<NodeConfig> ParseNodeConfig(std::string_view text, std::string_view file_name) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Fail(ErrorCode::kInvalidArgument, "{}: {}", Where(file_name, error.source()), error.description());
  }
  NodeConfig config;
  for (const auto& [key, node] : table) {
    const toml::table* section = node.as_table();
    if (section == nullptr) {
      return Fail(ErrorCode::kInvalidArgument, "{}: {} stands in no section", Where(file_name, node.source()),
                  key.str());
    }
    auto taken = TakeSection(config, key.str(), *section, file_name);
    if (!taken) return Forward(taken.error());
  }
  auto checked = CheckTogether(config, file_name);
  if (!checked) return Forward(checked.error());
  return config;
}

Result<NodeConfig> LoadNodeConfig(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return FailErrno(errno, "opening the configuration {}", file.string());
  std::ostringstream content;
  content << stream.rdbuf();
  if (!stream) return FailErrno(errno, "reading the configuration {}", file.string());
  return ParseNodeConfig(content.str(), file.string());
}

Status CheckReach(const NodeConfig& config, const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  const bool is_v4 = ::inet_pton(AF_INET, address.c_str(), &v4) == 1;
  const bool is_v6 = ::inet_pton(AF_INET6, address.c_str(), &v6) == 1;
  if (!is_v4 && !is_v6) {
    return Fail(ErrorCode::kInvalidArgument, "gateway.address must be an IP address such as 127.0.0.1, not '{}'",
                address);
  }
  constexpr uint32_t kLoopbackNet = 127;
  const bool is_loopback = is_v4 ? ntohl(v4.s_addr) >> 24 == kLoopbackNet : IN6_IS_ADDR_LOOPBACK(&v6) != 0;
  if (is_loopback || config.has_credentials()) return {};
  return Fail(ErrorCode::kInvalidArgument,
              "other machines could reach {}: set gateway.access_key_id and gateway.secret_access_key, or listen at "
              "127.0.0.1",
              address);
}

uint64_t NodeConfig::LaunchesAtATime(double cpus) const {
  // While one waits, for a disk or for a microVM's end, another can work.
  constexpr double kForEachCpu = 2;
  return launches != 0 ? launches : static_cast<uint64_t>(std::max(1.0, cpus) * kForEachCpu);
}

std::string PrintNodeConfig(const NodeConfig& config) {
  std::string text = "# The settings of a SnapFaaS node.\n";
  std::string_view section;
  for (const Setting& setting : kSettings) {
    if (setting.section != section) {
      section = setting.section;
      text += fmt::format("\n[{}]\n", section);
    }
    const std::string line = fmt::format("{} = {}", setting.name, Print(config, setting));
    text += setting.comment.empty() ? line + "\n" : fmt::format("{:<34} # {}\n", line, setting.comment);
  }
  return text;
}

}  // namespace snapfaas::node
