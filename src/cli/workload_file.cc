// ReadWorkload and ParseWorkload: the YAML form of a workload.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "base/json.h"
#include "cli/load_plan.h"
#include "images/files.h"

namespace snapfaas::cli {
namespace {

constexpr double kMaxSeconds = 1e6;
constexpr double kMaxMuMillis = 1e9;
constexpr double kMinMuMillis = 1e-3;
constexpr uint64_t kMaxUsers = 100'000;
// Aliases can make a small file a large event, or one without end.
constexpr int kMaxEventDepth = 64;
constexpr size_t kMaxEventNodes = 1'000'000;

// A node with the file that it is in, for messages.
struct YamlPlace {
  const std::filesystem::path* file;
  YAML::Node node;

  YamlPlace At(const YAML::Node& other) const { return {file, other}; }

  // Marks count from 0.
  tl::unexpected<Error> Fault(const std::string& what) const {
    return Fail(ErrorCode::kInvalidArgument, "{}:{}: {}", file->string(), node.Mark().line + 1, what);
  }
};

std::string Quoted(const YAML::Node& node) {
  return node.IsScalar() ? fmt::format("\"{}\"", node.Scalar()) : std::string("this");
}

// A map with none but these keys, each at most once.
Status CheckKeys(const YamlPlace& map, std::string_view what, std::initializer_list<std::string_view> known) {
  if (!map.node.IsMap()) return map.Fault(fmt::format("{} must be a map of {}", what, fmt::join(known, ", ")));
  std::vector<std::string> seen;
  for (const auto& entry : map.node) {
    const YamlPlace key = map.At(entry.first);
    if (!key.node.IsScalar() || std::find(known.begin(), known.end(), key.node.Scalar()) == known.end()) {
      return key.Fault(
          fmt::format("{} is no key of {}: it may have {}", Quoted(key.node), what, fmt::join(known, ", ")));
    }
    if (std::find(seen.begin(), seen.end(), key.node.Scalar()) != seen.end()) {
      return key.Fault(fmt::format("{} is there twice: take one out", Quoted(key.node)));
    }
    seen.push_back(key.node.Scalar());
  }
  return {};
}

template <typename T>
std::optional<T> NumberIn(const YAML::Node& node) {
  if (!node.IsScalar()) return std::nullopt;
  const std::string& text = node.Scalar();
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What is not there is left as it is.
Status ReadNumber(const YamlPlace& map, const char* key, double min, double max, double& value) {
  const YAML::Node node = map.node[key];
  if (!node.IsDefined()) return {};
  const auto number = NumberIn<double>(node);
  if (!number || !std::isfinite(*number) || *number < min || *number > max) {
    return map.At(node).Fault(fmt::format("{} must be a number from {} to {}, not {}", key, min, max, Quoted(node)));
  }
  value = *number;
  return {};
}

Result<std::optional<uint64_t>> ReadCount(const YamlPlace& map, const char* key, uint64_t min, uint64_t max) {
  const YAML::Node node = map.node[key];
  if (!node.IsDefined()) return std::optional<uint64_t>();
  const auto number = NumberIn<uint64_t>(node);
  if (!number || *number < min || *number > max) {
    return map.At(node).Fault(
        fmt::format("{} must be a whole number from {} to {}, not {}", key, min, max, Quoted(node)));
  }
  return number;
}

Status ReadCount(const YamlPlace& map, const char* key, uint32_t max, std::optional<uint32_t>& value) {
  auto number = ReadCount(map, key, 1, max);
  if (!number) return Forward(number.error());
  if (*number) value = static_cast<uint32_t>(**number);
  return {};
}

Status ReadText(const YamlPlace& map, const char* key, std::string& value) {
  const YAML::Node node = map.node[key];
  if (!node.IsDefined()) return {};
  if (!node.IsScalar() || node.Scalar().empty()) return map.At(node).Fault(fmt::format("{} must be a text", key));
  value = node.Scalar();
  return {};
}

// An event in YAML as JSON. Plain scalars that JSON has are that, everything else is a string.
class EventReader {
 public:
  Result<nlohmann::ordered_json> Read(const YamlPlace& place, int depth) {
    if (depth > kMaxEventDepth || ++nodes_ > kMaxEventNodes) {
      return place.Fault("the event is too deep or too large: make it smaller");
    }
    if (place.node.IsMap()) return ReadMap(place, depth);
    if (place.node.IsSequence()) return ReadList(place, depth);
    if (!place.node.IsScalar()) return nlohmann::ordered_json();
    const std::string& text = place.node.Scalar();
    if (place.node.Tag() == "?") {
      auto value = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (value.is_primitive() && !value.is_discarded()) return value;
    }
    return nlohmann::ordered_json(text);
  }

 private:
  Result<nlohmann::ordered_json> ReadMap(const YamlPlace& place, int depth) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (const auto& entry : place.node) {
      if (!entry.first.IsScalar()) return place.At(entry.first).Fault("a key of the event must be a text");
      auto value = Read(place.At(entry.second), depth + 1);
      if (!value) return value;
      object[entry.first.Scalar()] = *std::move(value);
    }
    return object;
  }

  Result<nlohmann::ordered_json> ReadList(const YamlPlace& place, int depth) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& item : place.node) {
      auto value = Read(place.At(item), depth + 1);
      if (!value) return value;
      list.push_back(*std::move(value));
    }
    return list;
  }

  size_t nodes_ = 0;
};

Status ReadEvent(const YamlPlace& map, std::string& event) {
  const YAML::Node node = map.node["event"];
  if (!node.IsDefined()) return {};
  auto value = EventReader().Read(map.At(node), 0);
  if (!value) return Forward(value.error());
  event = value->dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return {};
}

// Letters, digits, "-" and "_", maybe with a qualifier.
bool IsFunctionName(const std::string& name) {
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:$") ==
         std::string::npos;
}

Status ReadName(const YamlPlace& map, const Workload& workload, std::string& name) {
  if (auto read = ReadText(map, "name", name); !read) return read;
  if (name.empty()) return map.Fault("the function has no name: add one, as in \"name: lorem\"");
  const YamlPlace place = map.At(map.node["name"]);
  if (!IsFunctionName(name)) {
    return place.Fault(
        fmt::format("{} is no function's name: it may have letters, digits, - and _", Quoted(place.node)));
  }
  const bool is_known = std::any_of(workload.functions.begin(), workload.functions.end(),
                                    [&name](const LoadFunction& function) { return function.name == name; });
  if (is_known) return place.Fault(fmt::format("{} is there twice: give it more users instead", Quoted(place.node)));
  return {};
}

Status ReadDeployment(const YamlPlace& map, LoadFunction& function) {
  std::string app;
  if (auto read = ReadText(map, "app", app); !read) return read;
  if (app.empty()) {
    for (const char* key : {"runtime", "memory", "timeout"}) {
      const YAML::Node node = map.node[key];
      if (node.IsDefined()) {
        return map.At(node).Fault(
            fmt::format("{} is for functions that --deploy deploys: add app, or take it out", key));
      }
    }
    return {};
  }
  function.app = (map.file->parent_path() / app).lexically_normal();
  if (auto read = ReadText(map, "runtime", function.runtime); !read) return read;
  if (function.runtime.empty()) {
    return map.At(map.node["app"]).Fault("app needs a runtime beside it: add one, as in \"runtime: python3\"");
  }
  if (auto read = ReadCount(map, "memory", 10240, function.memory_mib); !read) return read;
  return ReadCount(map, "timeout", 900, function.timeout_seconds);
}

// When and how often. `duration` is 0 where the workload has none.
Status ReadRhythm(const YamlPlace& map, double duration, LoadFunction& function) {
  std::optional<uint32_t> users;
  if (auto read = ReadCount(map, "users", kMaxUsers, users); !read) return read;
  function.users = users.value_or(function.users);
  if (auto read = ReadNumber(map, "mu", kMinMuMillis, kMaxMuMillis, function.mu_ms); !read) return read;
  if (function.mu_ms == 0) {
    return map.Fault(
        "the function has no mu: add the mean time between two calls of one user in ms, as in "
        "\"mu: 500\"");
  }
  function.end_seconds = duration;
  const double last = duration > 0 ? duration : kMaxSeconds;
  if (auto read = ReadNumber(map, "start", 0, last, function.start_seconds); !read) return read;
  if (auto read = ReadNumber(map, "end", 0, last, function.end_seconds); !read) return read;
  if (function.end_seconds == 0) return map.Fault("the function has no end: add one, or give the workload a duration");
  if (function.end_seconds <= function.start_seconds) {
    return map.Fault(fmt::format("the function ends at {} s, before it starts at {} s: raise end, or lower start",
                                 function.end_seconds, function.start_seconds));
  }
  return {};
}

Status ReadFunction(const YamlPlace& map, Workload& workload) {
  if (auto keys = CheckKeys(map, "a function",
                            {"name", "app", "runtime", "memory", "timeout", "users", "mu", "start", "end", "event"});
      !keys) {
    return keys;
  }
  LoadFunction function;
  if (auto read = ReadName(map, workload, function.name); !read) return read;
  if (auto read = ReadDeployment(map, function); !read) return read;
  if (auto read = ReadRhythm(map, workload.duration_seconds, function); !read) return read;
  if (auto read = ReadEvent(map, function.event); !read) return read;
  workload.functions.push_back(std::move(function));
  return {};
}

Result<Workload> ReadTop(const YamlPlace& top) {
  if (auto keys = CheckKeys(top, "a workload", {"seed", "duration", "functions"}); !keys) return Forward(keys.error());
  Workload workload;
  auto seed = ReadCount(top, "seed", 0, std::numeric_limits<uint64_t>::max());
  if (!seed) return Forward(seed.error());
  workload.seed = seed->value_or(workload.seed);
  if (auto read = ReadNumber(top, "duration", 0.001, kMaxSeconds, workload.duration_seconds); !read) {
    return Forward(read.error());
  }
  const YAML::Node functions = top.node["functions"];
  if (!functions.IsDefined()) return top.Fault("the workload has no functions: add some below \"functions:\"");
  if (!functions.IsSequence() || functions.size() == 0) {
    return top.At(functions).Fault("functions must be a list, as in \"- name: lorem\"");
  }
  for (const auto& function : functions) {
    if (auto read = ReadFunction(top.At(function), workload); !read) return Forward(read.error());
  }
  for (const LoadFunction& function : workload.functions) {
    workload.duration_seconds = std::max(workload.duration_seconds, function.end_seconds);
  }
  return workload;
}

}  // namespace

Result<Workload> ParseWorkload(const std::string& text, const std::filesystem::path& path) {
  try {
    return ReadTop({&path, YAML::Load(text)});
  } catch (const YAML::Exception& error) {
    return Fail(ErrorCode::kInvalidArgument, "{}:{}: this is no YAML: {}", path.string(), error.mark.line + 1,
                error.msg);
  }
}

Result<Workload> ReadWorkload(const std::filesystem::path& path) {
  auto text = images::ReadWholeFile(path);
  if (!text) return Forward(text.error());
  return ParseWorkload(*text, path);
}

}  // namespace snapfaas::cli
