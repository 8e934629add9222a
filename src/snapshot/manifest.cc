#include "snapshot/manifest.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/json.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::string_view kVersionKey = "format_version";
constexpr uint64_t kMaxMemoryMib = kMaxMemoryBytes >> 20;

std::string Hex(uint64_t value) { return fmt::format("{:016x}", value); }

// Text with a replacement for what is not UTF-8: no exception for any input.
std::string Dump(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

std::string ChecksumOf(const OrderedJson& without_checksum) {
  const std::string text = Dump(without_checksum);
  return Hex(Hash64({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
}

// Reads the values of an object; a missing or wrong one is remembered by its key.
class Fields {
 public:
  explicit Fields(const OrderedJson& object) : object_(object) {}

  std::string Text(const char* key) {
    const auto found = object_.find(key);
    if (found != object_.end() && found->is_string()) return found->get<std::string>();
    return Bad(key), std::string();
  }

  uint64_t Number(const char* key, uint64_t low, uint64_t high) {
    const auto found = object_.find(key);
    if (found != object_.end() && found->is_number_unsigned()) {
      const auto value = found->get<uint64_t>();
      if (value >= low && value <= high) return value;
    }
    return Bad(key), low;
  }

  uint64_t HexNumber(const char* key) {
    const std::string text = Text(key);
    uint64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value, 16);
    if (text.size() != 16 || parsed.ec != std::errc() || parsed.ptr != end) Bad(key);
    return value;
  }

  std::string Identity(const char* key) {
    std::string text = Text(key);
    if (!IsIdentityHash(text)) Bad(key);
    return text;
  }

  const std::string& bad_key() const { return bad_key_; }

 private:
  void Bad(const char* key) {
    if (bad_key_.empty()) bad_key_ = key;
  }

  const OrderedJson& object_;
  std::string bad_key_;
};

Manifest GetManifest(Fields& fields) {
  Manifest manifest;
  manifest.key.runtime = fields.Text("runtime");
  manifest.key.memory_mib = static_cast<uint32_t>(fields.Number("memory_mib", 1, kMaxMemoryMib));
  manifest.key.vcpus = static_cast<uint32_t>(fields.Number("vcpus", 1, kMaxVcpus));
  manifest.key.function = fields.Text("function");
  manifest.created_unix_ms =
      static_cast<int64_t>(fields.Number("created_unix_ms", 0, std::numeric_limits<int64_t>::max()));
  manifest.sources.kernel = fields.Identity("kernel");
  manifest.sources.initramfs = fields.Identity("initramfs");
  manifest.sources.runtimefs = fields.Identity("runtimefs");
  manifest.state_bytes = fields.Number("state_bytes", 1, kMaxStateBytes);
  manifest.state_checksum = fields.HexNumber("state_checksum");
  manifest.memory_bytes = fields.Number("memory_bytes", 1, kMaxMemoryBytes);
  manifest.memory_checksum = fields.HexNumber("memory_checksum");
  manifest.stored_bytes = fields.Number("stored_bytes", 0, manifest.memory_bytes);
  manifest.base_checksum = fields.HexNumber("base_checksum");
  return manifest;
}

}  // namespace

bool IsIdentityHash(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 32 && std::all_of(text.begin(), text.end(), is_digit);
}

std::string SnapshotKey::FolderName() const {
  return fmt::format("{}-{}mib-{}vcpu{}{}", runtime, memory_mib, vcpus, IsBase() ? "" : "+", function);
}

Status SnapshotKey::Check() const {
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto is_allowed = [&](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; };
  if (runtime.empty() || runtime.size() > 64 || !is_alnum(runtime.front()) ||
      !std::all_of(runtime.begin(), runtime.end(), is_allowed)) {
    return Fail(ErrorCode::kInvalidArgument, "\"{}\" is no name for a runtime: use 1 to 64 of a-z, A-Z, 0-9, . _ -",
                runtime);
  }
  if (memory_mib == 0 || memory_mib > kMaxMemoryMib) {
    return Fail(ErrorCode::kInvalidArgument, "a microVM cannot have {} MiB of memory", memory_mib);
  }
  if (vcpus == 0 || vcpus > kMaxVcpus)
    return Fail(ErrorCode::kInvalidArgument, "a microVM cannot have {} vCPUs", vcpus);
  if (!IsBase() && !IsIdentityHash(function)) {
    return Fail(ErrorCode::kInvalidArgument, "\"{}\" does not name a function's image", function);
  }
  return {};
}

std::string EncodeManifest(const Manifest& manifest) {
  OrderedJson json = {
      {std::string(kVersionKey), kFormatVersion},
      {"runtime", manifest.key.runtime},
      {"memory_mib", manifest.key.memory_mib},
      {"vcpus", manifest.key.vcpus},
      {"function", manifest.key.function},
      {"created_unix_ms", manifest.created_unix_ms},
      {"kernel", manifest.sources.kernel},
      {"initramfs", manifest.sources.initramfs},
      {"runtimefs", manifest.sources.runtimefs},
      {"state_bytes", manifest.state_bytes},
      {"state_checksum", Hex(manifest.state_checksum)},
      {"memory_bytes", manifest.memory_bytes},
      {"memory_checksum", Hex(manifest.memory_checksum)},
      {"stored_bytes", manifest.stored_bytes},
      {"base_checksum", Hex(manifest.base_checksum)},
  };
  json["checksum"] = ChecksumOf(json);
  return Dump(json);
}

Result<Manifest> DecodeManifest(std::string_view text) {
  if (text.size() > kMaxManifestBytes) return Damaged(kManifestWhat, "it is too long");
  const OrderedJson json = OrderedJson::parse(text, nullptr, false);
  if (!json.is_object()) return Damaged(kManifestWhat, "it is not a JSON object");
  const auto version = json.find(kVersionKey);
  if (version == json.end() || !version->is_number_unsigned()) {
    return Damaged(kManifestWhat, "it has no format version");
  }
  if (version->get<uint64_t>() != kFormatVersion) {
    return Fail(ErrorCode::kIncompatible, "the snapshot has format version {}, this program reads version {}; {}",
                version->get<uint64_t>(), kFormatVersion, kMend);
  }
  Fields fields(json);
  Manifest manifest = GetManifest(fields);
  if (!fields.bad_key().empty()) {
    return Damaged(kManifestWhat, fmt::format("\"{}\" is missing or impossible", fields.bad_key()));
  }
  auto key = manifest.key.Check();
  if (!key) return Damaged(kManifestWhat, key.error().context);
  if (manifest.memory_bytes != uint64_t{manifest.key.memory_mib} << 20) {
    return Damaged(kManifestWhat, "its memory sizes differ");
  }
  if (manifest.key.IsBase() != (manifest.base_checksum == 0)) {
    return Damaged(kManifestWhat, "it is of a function without a base");
  }
  // Catches everything else, the checksum included: there is one text for these values.
  if (EncodeManifest(manifest) != text) return Damaged(kManifestWhat, "its checksum differs");
  return manifest;
}

}  // namespace snapfaas::snapshot
