#include "common/file_pages.h"

#include <sys/uio.h>

#include <cstdio>

namespace snapfaas::guest {

void MapFilesOf(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/maps", pid);
  FILE* maps = std::fopen(path, "re");
  if (maps == nullptr) return;
  constexpr size_t kPage = 4096;
  char line[512];
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long start = 0;
    unsigned long end = 0;
    unsigned long inode = 0;
    char access[8];
    if (std::sscanf(line, "%lx-%lx %7s %*x %*x:%*x %lu", &start, &end, access, &inode) != 4) continue;
    if (inode == 0 || access[0] != 'r') continue;
    // Reading a byte of another process brings its page in, for that process.
    for (unsigned long at = start; at < end; at += kPage) {
      char byte = 0;
      const iovec local{&byte, 1};
      // An address of another process is a number here.
      const iovec remote{reinterpret_cast<void*>(at), 1};  // NOLINT(performance-no-int-to-ptr)
      // A mapping that goes on behind its file's end.
      if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != 1) break;
    }
  }
  std::fclose(maps);
}

}  // namespace snapfaas::guest
