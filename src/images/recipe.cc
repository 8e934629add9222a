#include "images/recipe.h"

#include <fmt/format.h>

#include <algorithm>

#include "images/files.h"

namespace snapfaas::images {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

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

std::string KnownNames(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (fs::exists(entry.path() / "manifest.json", error)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

bool IsRuntimeName(std::string_view name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), allowed);
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
    return Fail(ErrorCode::kCorrupt, "{}: \"name\" must be lower-case letters, digits and dashes", what);
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
  return recipe;
}

json RecipeToJson(const RuntimeRecipe& recipe) {
  json object = {{"name", recipe.name},
                 {"packages", recipe.packages},
                 {"command", recipe.command},
                 {"handler_files", recipe.handler_files}};
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

}  // namespace snapfaas::images
