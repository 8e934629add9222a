// The kernel's text as it runs. While it boots, a kernel patches its text for the CPU (alternatives, static calls,
// hooks for tracing): hardly a page is left as its file has it, and yet all boots on one machine come to the same. A
// copy of the kernel's file with these pages behind it, the *running kernel*, stands for the kernel from then on: to a
// snapshot that is taken with it they are clean, as the rest of the file is (docs/snapshot_format.md), and restores
// from disk find them in memory, once for all snapshots of the kernel.
//
// The running kernel: the kernel, zeroes up to a multiple of 2 MiB, regions of 2 MiB of text, one page that says so.
// What loads the kernel does not see what lies behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/file_system.h"
#include "base/result.h"
#include "snapshot/format.h"
#include "snapshot/in_memory_image.h"

namespace snapfaas::snapshot {

// Where the file's text begins and ends, in pages; an empty range where it has none. kCorrupt: it is damaged.
struct TextRange {
  uint32_t first_page = 0;
  uint32_t end_page = 0;

  bool Has(uint32_t file_page) const { return file_page >= first_page && file_page < end_page; }
};
Result<TextRange> FindKernelText(int kernel_fd);

class KernelText {
 public:
  // In memory, in huge pages where the host has them; nullptr where the file has none. kCorrupt: it is damaged.
  static Result<std::shared_ptr<const KernelText>> Load(int kernel_fd);

  int fd() const { return image_.fd(); }
  // Where it is in the kernel's file; fd() begins with its first page.
  const TextRange& range() const { return range_; }

 private:
  KernelText(InMemoryImage image, TextRange range) : image_(std::move(image)), range_(range) {}

  InMemoryImage image_;
  TextRange range_;
};

// Makes the running kernel of a kernel and the memory of a base snapshot: a new file `running`, which is there as a
// whole or not at all. `map` tells what `memory_fd` holds and what is in the kernel. False: it is there already, or the
// memory has no text that is worth it.
Result<bool> MakeRunningKernel(FileSystem& files, const std::string& kernel, const std::string& running, int memory_fd,
                               const MemoryMap& map);

}  // namespace snapfaas::snapshot
