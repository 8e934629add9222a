#include "cli/node_record.h"

#include <fmt/format.h>

#include <system_error>

#include "base/json.h"
#include "host/host_record.h"

namespace snapfaas::cli {
namespace {

std::filesystem::path RecordFile(const std::filesystem::path& state_dir) { return state_dir / "run.json"; }

std::optional<NodeRecord> Decode(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  try {
    NodeRecord record;
    record.process = {json.at("pid").get<pid_t>(), json.at("start_ticks").get<uint64_t>()};
    record.address = json.at("address").get<std::string>();
    record.port = json.at("port").get<uint16_t>();
    record.is_emulated = json.at("emulated").get<bool>();
    record.started_host = json.at("started_host").get<bool>();
    record.started_unix = json.at("started_unix").get<int64_t>();
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::string NodeRecord::Url() const {
  const bool is_v6 = address.find(':') != std::string::npos;
  return is_v6 ? fmt::format("http://[{}]:{}", address, port) : fmt::format("http://{}:{}", address, port);
}

std::optional<NodeRecord> FindNode(const std::filesystem::path& state_dir) {
  const auto text = host::ReadPrivateFile(RecordFile(state_dir));
  if (!text) return std::nullopt;
  auto record = Decode(*text);
  if (record && host::IsAlive(record->process)) return record;
  ForgetNode(state_dir);
  return std::nullopt;
}

Status SaveNode(const std::filesystem::path& state_dir, const NodeRecord& record) {
  const nlohmann::json json = {{"pid", record.process.pid},          {"start_ticks", record.process.start_ticks},
                               {"address", record.address},          {"port", record.port},
                               {"emulated", record.is_emulated},     {"started_host", record.started_host},
                               {"started_unix", record.started_unix}};
  return host::WritePrivateFile(RecordFile(state_dir), json.dump() + "\n");
}

void ForgetNode(const std::filesystem::path& state_dir) {
  std::error_code ignored;
  std::filesystem::remove(RecordFile(state_dir), ignored);
}

}  // namespace snapfaas::cli
