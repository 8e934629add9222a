// Deploys the functions of a workload, with or without snapshots of their own.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "base/result.h"
#include "cli/load_plan.h"
#include "cli/node_client.h"

namespace snapfaas::cli {

enum class FunctionSnapshots { kAsTheyAre, kOff, kOn };
std::string_view NameOf(FunctionSnapshots snapshots);

// What microVMs the functions had before may go on.
enum class OldVms { kKeep, kLeaveBehind };

// Those with an `app`; returns when all can be invoked and have the snapshots that they are to have. kInvalidArgument:
// the workload has none. `say` is told what happens.
Status DeployWorkload(const NodeClient& node, const Workload& workload, const std::filesystem::path& share_dir,
                      FunctionSnapshots snapshots, OldVms old_vms, const std::function<void(std::string_view)>& say);

}  // namespace snapfaas::cli
