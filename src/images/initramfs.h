// Initramfs: a cpio archive (the kernel's "newc" format, Documentation/driver-api/early-userspace/buffer-format.rst)
// with an /init program and kernel modules, which the program loads in the order of /modules.list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace snapfaas::images {

// Builds an uncompressed newc archive in memory. Reproducible: times and owners are zero, inodes are counted.
class CpioWriter {
 public:
  CpioWriter() = default;

  void AddDirectory(std::string_view path, uint32_t permissions);
  void AddFile(std::string_view path, uint32_t permissions, std::string_view content);
  void AddSymlink(std::string_view path, std::string_view target);
  // REQUIRES: `type` is S_IFCHR or S_IFBLK.
  void AddDevice(std::string_view path, uint32_t type, uint32_t permissions, uint32_t major, uint32_t minor);

  // The archive with its trailer; the writer is empty afterwards.
  std::string Finish();

 private:
  struct Entry {
    uint32_t mode = 0;
    uint32_t links = 1;
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
  };
  void Add(std::string_view path, const Entry& entry, std::string_view content);

  std::string bytes_;
  uint32_t next_inode_ = 1;
};

// The contents of a modules.dep: module file -> the files it needs, both relative to the folder of modules.dep.
using ModuleDependencies = std::map<std::string, std::vector<std::string>>;
ModuleDependencies ParseModulesDep(std::string_view text);

// The module files to load for `names` ("virtio_blk", "virtio-rng": dash and underscore are the same), what each needs
// before it, each once. A name in `builtin` (the text of modules.builtin) needs nothing. kNotFound: no such module;
// kCorrupt: modules that need each other.
Result<std::vector<std::string>> ModuleLoadOrder(const ModuleDependencies& dependencies, std::string_view builtin,
                                                 const std::vector<std::string>& names);

// An initramfs of `init` and the modules `names` of the kernel whose modules lie in `modules_dir`.
Result<std::string> BuildInitramfs(const std::filesystem::path& init, const std::filesystem::path& modules_dir,
                                   const std::vector<std::string>& names);

}  // namespace snapfaas::images
