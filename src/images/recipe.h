// RuntimeRecipe and JSON: the recipe's own file in the share folder, and its copy in the manifest of a built runtime.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "images/runtimefs.h"

namespace snapfaas::images {

// Parses `text` as a JSON object. kCorrupt names `what`.
Result<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what);

// kCorrupt: a key is missing, or is not what it should be; `what` names the file.
Result<RuntimeRecipe> RecipeFromJson(const nlohmann::json& json, std::string_view what);
nlohmann::json RecipeToJson(const RuntimeRecipe& recipe);

// Letters, digits, dashes and dots, 32 at most, the first a letter or digit and no two dots together: such a name is a
// folder's name and nothing else.
bool IsRuntimeName(std::string_view name);

}  // namespace snapfaas::images
