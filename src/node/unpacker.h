// Takes a function's deployment package apart.
#pragma once

#include <filesystem>
#include <functional>

#include "base/result.h"
#include "node/zip_reader.h"

namespace snapfaas::node {

// Reads the archive from end to end. `take`, where there is one, is called for each entry and is to read the file's
// bytes from the reader; what it leaves is read for it, so that sizes and checksums are always looked at.
using TakeEntry = std::function<Status(ZipReader& reader, const ZipEntry& entry)>;
Status ForEachFile(const std::filesystem::path& zip, const TakeEntry& take, const ZipLimits& limits = ZipLimits());

// Into `folder`, which is made. Files get mode 0755 or 0644, folders 0755. A later entry of one path takes the place of
// an earlier one; nothing is ever written through a symbolic link.
Status Unpack(const std::filesystem::path& zip, const std::filesystem::path& folder);

}  // namespace snapfaas::node
