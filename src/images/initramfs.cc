#include "images/initramfs.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "images/files.h"

namespace snapfaas::images {
namespace {

// "virtio-rng" and ".../virtio_rng.ko" name the same module, as for modprobe(8).
std::string ModuleName(std::string_view file) {
  const size_t slash = file.rfind('/');
  if (slash != std::string_view::npos) file.remove_prefix(slash + 1);
  const size_t dot = file.find(".ko");
  std::string name(file.substr(0, dot));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

// Depth first: what a module needs comes before it.
class LoadOrder {
 public:
  explicit LoadOrder(const ModuleDependencies& dependencies) : dependencies_(dependencies) {}

  Status Add(const std::string& file) {
    if (done_.contains(file)) return {};
    if (!open_.insert(file).second) return Fail(ErrorCode::kCorrupt, "modules.dep: {} needs itself", file);
    const auto found = dependencies_.find(file);
    if (found == dependencies_.end()) return Fail(ErrorCode::kNotFound, "modules.dep: no entry for {}", file);
    for (const std::string& needed : found->second) {
      if (auto added = Add(needed); !added) return added;
    }
    open_.erase(file);
    done_.insert(file);
    order_.push_back(file);
    return {};
  }

  std::vector<std::string> Take() { return std::move(order_); }

 private:
  const ModuleDependencies& dependencies_;
  std::set<std::string> open_;
  std::set<std::string> done_;
  std::vector<std::string> order_;
};

}  // namespace

void CpioWriter::Add(std::string_view path, const Entry& entry, std::string_view content) {
  const auto pad = [this] { bytes_.resize((bytes_.size() + 3) & ~size_t{3}, '\0'); };
  // Magic; inode, mode, uid, gid, links, mtime, file size, device, rdevice, name size, check: eight hex digits each.
  bytes_ += fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
                        next_inode_++, entry.mode, 0, 0, entry.links, 0, content.size(), 0, 0, entry.device_major,
                        entry.device_minor, path.size() + 1, 0);
  bytes_ += path;
  bytes_ += '\0';
  pad();
  bytes_ += content;
  pad();
}

void CpioWriter::AddDirectory(std::string_view path, uint32_t permissions) {
  Add(path, {.mode = S_IFDIR | permissions, .links = 2}, {});
}

void CpioWriter::AddFile(std::string_view path, uint32_t permissions, std::string_view content) {
  Add(path, {.mode = S_IFREG | permissions}, content);
}

void CpioWriter::AddSymlink(std::string_view path, std::string_view target) {
  Add(path, {.mode = S_IFLNK | 0777}, target);
}

void CpioWriter::AddDevice(std::string_view path, uint32_t type, uint32_t permissions, uint32_t major, uint32_t minor) {
  Add(path, {.mode = type | permissions, .device_major = major, .device_minor = minor}, {});
}

std::string CpioWriter::Finish() {
  Add("TRAILER!!!", {}, {});
  next_inode_ = 1;
  return std::move(bytes_);
}

ModuleDependencies ParseModulesDep(std::string_view text) {
  ModuleDependencies dependencies;
  for (const std::string_view line : Split(text, '\n')) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    auto& needed = dependencies[std::string(line.substr(0, colon))];
    for (const std::string_view file : Split(line.substr(colon + 1), ' ')) needed.emplace_back(file);
  }
  return dependencies;
}

Result<std::vector<std::string>> ModuleLoadOrder(const ModuleDependencies& dependencies, std::string_view builtin,
                                                 const std::vector<std::string>& names) {
  std::map<std::string, std::string> file_of;
  for (const auto& [file, needed] : dependencies) file_of.emplace(ModuleName(file), file);
  std::set<std::string> in_kernel;
  for (const std::string_view file : Split(builtin, '\n')) in_kernel.insert(ModuleName(file));

  LoadOrder order(dependencies);
  for (const std::string& name : names) {
    const std::string module = ModuleName(name);
    if (in_kernel.contains(module)) continue;
    const auto file = file_of.find(module);
    if (file == file_of.end()) return Fail(ErrorCode::kNotFound, "the kernel has no module {}", name);
    if (auto added = order.Add(file->second); !added) return Forward(added.error());
  }
  return order.Take();
}

Result<std::string> BuildInitramfs(const std::filesystem::path& init, const std::filesystem::path& modules_dir,
                                   const std::vector<std::string>& names) {
  auto program = ReadWholeFile(init);
  if (!program) return Forward(program.error());
  auto modules_dep = ReadWholeFile(modules_dir / "modules.dep");
  if (!modules_dep) return Forward(modules_dep.error());
  auto builtin = ReadWholeFile(modules_dir / "modules.builtin");
  if (!builtin) return Forward(builtin.error());
  auto files = ModuleLoadOrder(ParseModulesDep(*modules_dep), *builtin, names);
  if (!files) return Forward(files.error(), modules_dir.string());

  CpioWriter archive;
  for (const char* folder : {"dev", "modules", "root"}) archive.AddDirectory(folder, 0755);
  // The kernel opens the console for /init, and /init rings the doorbell, before anything is mounted.
  archive.AddDevice("dev/console", S_IFCHR, 0600, 5, 1);
  archive.AddDevice("dev/mem", S_IFCHR, 0600, 1, 1);
  archive.AddFile("init", 0755, *program);
  std::string list;
  for (const std::string& file : *files) {
    auto module = ReadWholeFile(modules_dir / file);
    if (!module) return Forward(module.error());
    const std::string path = "modules/" + ModuleName(file) + ".ko";
    archive.AddFile(path, 0644, *module);
    list += "/" + path + "\n";
  }
  archive.AddFile("modules.list", 0644, list);
  return archive.Finish();
}

}  // namespace snapfaas::images
