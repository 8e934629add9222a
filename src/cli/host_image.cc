#include "cli/host_image.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "images/initramfs.h"
#include "images/kernel.h"
#include "images/process.h"

namespace snapfaas::cli {
namespace {

namespace fs = std::filesystem;

// kvm-amd: QEMU emulates no Intel VMX. qemu_fw_cfg brings the token.
const std::vector<std::string>& Modules() {
  static const std::vector<std::string> names{"virtio_pci", "9p",  "9pnet_virtio", "overlay",
                                              "virtio_net", "tun", "qemu_fw_cfg",  "kvm-amd"};
  return names;
}

Result<std::string> ReadProgram(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof()) return Fail(ErrorCode::kSystem, "cannot read {}", path.string());
  if (content.empty()) {
    return Fail(ErrorCode::kNotFound, "{} is missing: the emulated host needs it; build it", path.string());
  }
  return content;
}

void RemoveOthers(const fs::path& kept, std::string_view prefix) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kept.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && entry.path() != kept) fs::remove(entry.path(), ignored);
  }
}

// Complete under its name, or not there.
Status Publish(const fs::path& path, const std::string& content) {
  const fs::path temporary = path.string() + ".new";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) return Fail(ErrorCode::kSystem, "cannot write {}", temporary.string());
  std::error_code failure;
  fs::rename(temporary, path, failure);
  if (failure) return FailErrno(failure.value(), "making {}", path.string());
  return {};
}

Result<fs::path> MakeInitramfs(const images::KernelFiles& kernel, const fs::path& program, const fs::path& folder) {
  const auto content = ReadProgram(program);
  if (!content) return Forward(content.error());
  const fs::path initramfs = folder / fmt::format("initramfs-{}-{:016x}.cpio", kernel.dir.filename().string(),
                                                  std::hash<std::string>()(*content));
  std::error_code ignored;
  if (fs::exists(initramfs, ignored)) return initramfs;
  const auto archive = images::BuildInitramfs(program, kernel.modules_dir, Modules());
  if (!archive) return Forward(archive.error(), "the emulated host's initramfs");
  if (auto status = Publish(initramfs, *archive); !status) return Forward(status.error());
  RemoveOthers(initramfs, "initramfs-");
  return initramfs;
}

}  // namespace

Result<host::HostImages> PrepareHostImages(const Context& context, const host::Progress& progress) {
  auto kernel = images::FindKernel(context.data_dir, images::KernelFlavor::kHost);
  if (!kernel) kernel = images::FetchKernel(context.data_dir, images::KernelFlavor::kHost, progress);
  if (!kernel) return Forward(kernel.error(), "the emulated host's kernel");
  const fs::path folder = context.data_dir / "host";
  const auto initramfs = MakeInitramfs(*kernel, context.bin_dir / "snapfaas-hostd", folder);
  if (!initramfs) return Forward(initramfs.error());
  // Unpacking itself is most of what a compressed kernel does while the emulated host boots.
  return host::HostImages{kernel->vmlinux, *initramfs};
}

}  // namespace snapfaas::cli
