// What the emulated host boots from: a Debian kernel, and an initramfs of snapfaas-hostd and the modules it needs.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "cli/context.h"
#include "host/emulated_host.h"

namespace snapfaas::cli {

// Fetches the kernel where it is not there yet. The initramfs is kept as <data>/host/initramfs-<kernel>-<hash>.cpio;
// another kernel or another snapfaas-hostd makes a new one, and the old one goes. <data>/host/vmlinux-<kernel> is the
// kernel unpacked.
Result<host::HostImages> PrepareHostImages(const Context& context, const host::Progress& progress);

}  // namespace snapfaas::cli
