// Debian's kernels, fetched as packages and unpacked below the data folder, never installed.
//
//   <data>/kernels/<release>_<package version>/vmlinuz
//   <data>/kernels/<release>_<package version>/vmlinux        the same kernel unpacked
//   <data>/kernels/<release>_<package version>/lib/modules/<release>/   with modules.dep
//
// No root is needed. A folder under its final name is complete: it is published by rename.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "images/progress.h"

namespace snapfaas::images {

enum class KernelFlavor {
  kGuest,  // linux-image-cloud-amd64: what runs in a microVM
  kHost,   // linux-image-amd64: what runs the emulated host; has kvm-amd and 9p
};

struct KernelFiles {
  std::string release;                // "6.1.0-56-cloud-amd64", as uname -r says it
  std::string package_version;        // "6.1.192-2"
  std::filesystem::path dir;          // the folder of this kernel
  std::filesystem::path vmlinuz;      // bzImage
  std::filesystem::path vmlinux;      // ELF, what vmlinuz unpacks to
  std::filesystem::path modules_dir;  // .../lib/modules/<release>
};

// The kernel that apt's lists name now; downloaded if it is not there yet. Where apt cannot tell (no lists, no network)
// a kernel fetched earlier is used. kUnavailable: neither; the message says which command mends it.
Result<KernelFiles> FetchKernel(const std::filesystem::path& data_dir, KernelFlavor flavor, const Progress& progress);

// The newest kernel already there, without asking apt. kNotFound when there is none.
Result<KernelFiles> FindKernel(const std::filesystem::path& data_dir, KernelFlavor flavor);

}  // namespace snapfaas::images
