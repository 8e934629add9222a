// EROFS images, as far as the host looks into them: is this one, and is it all there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace snapfaas::images {

// Checks the superblock (Linux, fs/erofs/erofs_fs.h: magic at byte 1024, then the image's size in blocks) against the
// file. kNotFound: no such file; kCorrupt: another kind of file, or shorter than its superblock says.
Status CheckErofsImage(const std::filesystem::path& image);

// The options of mkfs.erofs that all our images have: nothing in them depends on when, where and by whom they are made.
// Uncompressed and without tails beside inodes: a guest maps a runtimefs's pages where they are (DAX).
std::vector<std::string> MkfsErofsOptions();

}  // namespace snapfaas::images
