// The virtio-console ports of the VM, by name. There is no udev: devtmpfs makes the nodes, sysfs knows the names.
#pragma once

namespace snapfaas::guest {

// Opens the port `name` with the flags of open(2), waiting up to `wait_ms` for the host to announce it. The descriptor
// is close-on-exec; -1 when the port does not come.
int OpenPort(const char* name, int flags, int wait_ms);

}  // namespace snapfaas::guest
