// ZipReader: the files of a function's deployment package, one after the other. What it hands out is safe to unpack: a
// path below the folder, of an archive within AWS Lambda's limits; anything else is kInvalidArgument that says what is
// wrong and what to do. It trusts nothing that the archive claims: sizes are counted, checksums compared.
//
// Open ──> Next ──(entry)──> Read* (file) ──> Next ... ──(nothing)──> read whole
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

struct archive;

namespace snapfaas::node {

// AWS Lambda's quotas for a deployment package; the count of entries is what zip has without its 64-bit extension.
struct ZipLimits {
  uint64_t zip_bytes = uint64_t{50} << 20;
  uint64_t unzipped_bytes = uint64_t{250} << 20;
  size_t entries = 65'535;
};

struct ZipEntry {
  enum class Kind { kFile, kFolder, kLink };
  std::string path;  // relative, without "." and ".." and without a slash at its end
  Kind kind = Kind::kFile;
  bool is_executable = false;
  std::string target;  // of a link: relative, leads to a place below the folder
};

class ZipReader {
 public:
  static Result<ZipReader> Open(const std::filesystem::path& zip, const ZipLimits& limits);

  // The next entry; nothing behind the last. What was not read of the entry before is passed over.
  Result<std::optional<ZipEntry>> Next();

  // Bytes of the file that Next has named; 0 at its end.
  Result<size_t> Read(std::span<char> buffer);

 private:
  struct CloseArchive {
    void operator()(archive* opened) const;
  };
  ZipReader(archive* opened, const ZipLimits& limits) : archive_(opened), limits_(limits) {}

  tl::unexpected<Error> Refuse() const;

  std::unique_ptr<archive, CloseArchive> archive_;
  ZipLimits limits_;
  size_t entries_ = 0;
  uint64_t unzipped_bytes_ = 0;
};

}  // namespace snapfaas::node
