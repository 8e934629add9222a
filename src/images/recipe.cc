#include "images/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "images/files.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// As faas::CheckVmSize has it, which stands on another floor.
constexpr uint32_t kMemoryStepMib = 128;
constexpr uint32_t kMaxMemoryMib = 3072;

Result<std::vector<std::string>> StringsFromJson(const json& object, const char* key, std::string_view what) {
  const auto found = object.find(key);
  const auto is_text = [](const json& value) { return value.is_string(); };
  if (found == object.end() || !found->is_array() || !std::all_of(found->begin(), found->end(), is_text)) {
    return Fail(ErrorCode::kCorrupt, "{}: \"{}\" must be a list of strings", what, key);
  }
  return found->get<std::vector<std::string>>();
}

Result<CompileStep> CompileStepFromJson(const json& object, std::string_view what) {
  CompileStep step;
  auto interpreter = StringsFromJson(object, "interpreter", what);
  if (!interpreter) return Forward(interpreter.error());
  step.interpreter = *std::move(interpreter);
  const auto script = object.find("script");
  if (script != object.end() && script->is_string()) step.script = script->get<std::string>();
  if (step.interpreter.empty() || step.script.empty() || step.script.find('/') != std::string::npos) {
    return Fail(ErrorCode::kCorrupt, "{}: \"compile\" must have an \"interpreter\" and a \"script\" beside it", what);
  }
  return step;
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (fs::exists(entry.path() / "manifest.json", error)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string KnownNames(const fs::path& folder) {
  const auto names = NamesIn(folder);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

bool IsPattern(std::string text) {
  for (size_t at = text.find("{name}"); at != std::string::npos; at = text.find("{name}")) text.replace(at, 6, "name");
  try {
    const std::regex pattern(text);
    return true;
  } catch (const std::regex_error&) {
    return false;
  }
}

// The members that a recipe may leave out.
Status ReadOptionalMembers(const json& object, std::string_view what, RuntimeRecipe& recipe) {
  for (auto& [key, list] :
       {std::pair{"lambda_runtimes", &recipe.lambda_runtimes}, std::pair{"version_command", &recipe.version_command}}) {
    if (!object.contains(key)) continue;
    auto strings = StringsFromJson(object, key, what);
    if (!strings) return Forward(strings.error());
    *list = *std::move(strings);
  }
  for (auto& [key, text] :
       {std::pair{"handler_format", &recipe.handler_format}, std::pair{"handler_pattern", &recipe.handler_pattern}}) {
    if (!object.contains(key)) continue;
    if (!object[key].is_string()) return Fail(ErrorCode::kCorrupt, "{}: \"{}\" must be a string", what, key);
    *text = object[key].get<std::string>();
  }
  if (const auto environment = object.find("environment"); environment != object.end()) {
    const auto is_variable = [](const auto& item) {
      return item.value().is_string() && !item.key().empty() && item.key().find('=') == std::string::npos &&
             (item.key() + item.value().template get<std::string>()).find('\n') == std::string::npos;
    };
    const auto items = environment->items();
    if (!environment->is_object() || !std::all_of(items.begin(), items.end(), is_variable)) {
      return Fail(ErrorCode::kCorrupt, "{}: \"environment\" must be an object of strings without line breaks", what);
    }
    recipe.environment = environment->get<std::map<std::string, std::string>>();
  }
  if (!IsPattern(recipe.handler_pattern)) {
    return Fail(ErrorCode::kCorrupt, "{}: \"handler_pattern\" is no regular expression", what);
  }
  const auto memory = object.find("min_memory_mib");
  if (memory == object.end()) return {};
  const uint64_t mib = memory->is_number_unsigned() ? memory->get<uint64_t>() : 0;
  if (mib == 0 || mib % kMemoryStepMib != 0 || mib > kMaxMemoryMib) {
    return Fail(ErrorCode::kCorrupt, "{}: \"min_memory_mib\" must be a multiple of {}, {} at most", what,
                kMemoryStepMib, kMaxMemoryMib);
  }
  recipe.min_memory_mib = static_cast<uint32_t>(mib);
  return {};
}

}  // namespace

bool IsRuntimeName(std::string_view name) {
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto allowed = [&](char c) { return is_alnum(c) || c == '-' || c == '.'; };
  return !name.empty() && name.size() <= 32 && is_alnum(name.front()) && name.find("..") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(), allowed);
}

Result<json> ParseJsonObject(std::string_view text, std::string_view what) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Fail(ErrorCode::kCorrupt, "{} is not a JSON object", what);
  return parsed;
}

Result<RuntimeRecipe> RecipeFromJson(const json& object, std::string_view what) {
  RuntimeRecipe recipe;
  const auto name = object.find("name");
  if (name == object.end() || !name->is_string() || !IsRuntimeName(name->get_ref<const std::string&>())) {
    return Fail(ErrorCode::kCorrupt, "{}: \"name\" must be letters, digits, dashes and dots", what);
  }
  recipe.name = name->get<std::string>();
  for (auto& [key, list] : {std::pair{"packages", &recipe.packages}, std::pair{"command", &recipe.command},
                            std::pair{"handler_files", &recipe.handler_files}}) {
    auto strings = StringsFromJson(object, key, what);
    if (!strings) return Forward(strings.error());
    *list = *std::move(strings);
  }
  if (recipe.command.empty()) return Fail(ErrorCode::kCorrupt, "{}: \"command\" is empty", what);
  if (const auto compile = object.find("compile"); compile != object.end()) {
    auto step = CompileStepFromJson(*compile, what);
    if (!step) return Forward(step.error());
    recipe.compile = *std::move(step);
  }
  if (auto read = ReadOptionalMembers(object, what, recipe); !read) return Forward(read.error());
  return recipe;
}

json RecipeToJson(const RuntimeRecipe& recipe) {
  json object = {{"name", recipe.name},
                 {"packages", recipe.packages},
                 {"command", recipe.command},
                 {"handler_files", recipe.handler_files},
                 {"lambda_runtimes", recipe.lambda_runtimes},
                 {"version_command", recipe.version_command},
                 {"min_memory_mib", recipe.min_memory_mib},
                 {"environment", recipe.environment},
                 {"handler_format", recipe.handler_format},
                 {"handler_pattern", recipe.handler_pattern}};
  if (recipe.compile) {
    object["compile"] = {{"interpreter", recipe.compile->interpreter}, {"script", recipe.compile->script}};
  }
  return object;
}

Result<RuntimeRecipe> LoadRecipe(const fs::path& share_dir, const std::string& name) {
  const fs::path folder = share_dir / "bootstrap";
  const fs::path file = folder / name / "manifest.json";
  std::error_code error;
  if (!IsRuntimeName(name) || !fs::exists(file, error)) {
    return Fail(ErrorCode::kNotFound, "there is no runtime named {}; known: {}", name, KnownNames(folder));
  }
  auto text = ReadWholeFile(file);
  if (!text) return Forward(text.error());
  auto object = ParseJsonObject(*text, file.string());
  if (!object) return Forward(object.error());
  auto recipe = RecipeFromJson(*object, file.string());
  if (recipe && recipe->name != name) {
    return Fail(ErrorCode::kCorrupt, "{}: \"name\" is {}, the folder's name {}", file.string(), recipe->name, name);
  }
  return recipe;
}

std::vector<RuntimeRecipe> ListRecipes(const fs::path& share_dir) {
  std::vector<RuntimeRecipe> recipes;
  for (const std::string& name : NamesIn(share_dir / "bootstrap")) {
    if (auto recipe = LoadRecipe(share_dir, name)) recipes.push_back(*std::move(recipe));
  }
  return recipes;
}

}  // namespace snapfaas::images
