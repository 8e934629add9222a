#include "agent/ports.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>

namespace snapfaas::guest {
namespace {

constexpr char kPortFolder[] = "/sys/class/virtio-ports";

bool PortHasName(const char* port, const char* name) {
  char path[300];
  std::snprintf(path, sizeof(path), "%s/%s/name", kPortFolder, port);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[128];
  const ssize_t length = ::read(fd, text, sizeof(text) - 1);
  ::close(fd);
  if (length <= 0) return false;
  text[length] = '\0';
  text[std::strcspn(text, "\n")] = '\0';
  return std::strcmp(text, name) == 0;
}

int TryOpen(const char* name, int flags) {
  DIR* folder = ::opendir(kPortFolder);
  if (folder == nullptr) return -1;
  int fd = -1;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.' || !PortHasName(entry->d_name, name)) continue;
    char path[300];
    std::snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
    fd = ::open(path, flags | O_CLOEXEC);
    break;
  }
  ::closedir(folder);
  return fd;
}

}  // namespace

int OpenPort(const char* name, int flags, int wait_ms) {
  constexpr timespec kStep{0, 1'000'000};
  for (int waited = 0;; ++waited) {
    const int fd = TryOpen(name, flags);
    if (fd >= 0 || waited >= wait_ms) return fd;
    ::nanosleep(&kStep, nullptr);
  }
}

}  // namespace snapfaas::guest
