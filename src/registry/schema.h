// The registry's tables. Their version stands in the database's user_version.
#pragma once

#include "base/result.h"

namespace snapfaas::registry {

class Database;

inline constexpr int kSchemaVersion = 1;

// Makes the tables where there are none. kIncompatible: a newer SnapFaaS has made them.
Status PrepareSchema(Database& database);

}  // namespace snapfaas::registry
