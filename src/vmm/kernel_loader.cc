#include "vmm/kernel_loader.h"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/units.h"
#include "vmm/layout.h"

namespace snapfaas::vmm {
namespace {

// Offsets in a bzImage (boot.rst).
constexpr uint64_t kSetupSectsOffset = 0x1f1;
constexpr uint64_t kJumpOffset = 0x200;
constexpr uint64_t kVersionOffset = 0x206;
constexpr uint64_t kLoadFlagsOffset = 0x211;
constexpr uint64_t kInitrdAddrMaxOffset = 0x22c;
constexpr uint64_t kXLoadFlagsOffset = 0x236;
constexpr uint64_t kInitSizeOffset = 0x260;
constexpr uint64_t kHeaderBytes = 0x280;
constexpr uint16_t kMinVersion = 0x020c;  // the first with a 64-bit entry point
constexpr uint8_t kLoadedHigh = 1;
constexpr uint16_t kXlfKernel64 = 1;
constexpr uint64_t k64BitEntryOffset = 0x200;

constexpr char kMend[] = "give a bzImage (vmlinuz) or an ELF executable for x86-64";

Result<uint64_t> FileSize(int fd, const char* what) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "reading the size of the {}", what);
  return static_cast<uint64_t>(info.st_size);
}

// Reads exactly `length` bytes of the file into guest memory.
Status ReadIntoGuest(int fd, uint64_t offset, uint64_t length, GuestAddress to, const GuestMemory& memory,
                     const char* what) {
  auto slice = memory.Slice(to, length);
  if (!slice) {
    return Fail(ErrorCode::kInvalidArgument, "the {} needs {} bytes at {:#x} and does not fit into {} MiB of memory",
                what, length, to.value(), memory.size() >> 20);
  }
  while (!slice->empty()) {
    const ssize_t got = ::pread(fd, slice->data(), slice->size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "reading the {}", what);
    if (got == 0) return Fail(ErrorCode::kInvalidArgument, "the {} is truncated", what);
    offset += static_cast<uint64_t>(got);
    *slice = slice->subspan(static_cast<size_t>(got));
  }
  return {};
}

template <typename T>
T Field(const std::vector<uint8_t>& bytes, uint64_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

Result<LoadedKernel> LoadBzImage(int fd, uint64_t file_size, const std::vector<uint8_t>& head, GuestMemory& memory) {
  if (Field<uint16_t>(head, kVersionOffset) < kMinVersion || (head[kLoadFlagsOffset] & kLoadedHigh) == 0 ||
      (Field<uint16_t>(head, kXLoadFlagsOffset) & kXlfKernel64) == 0) {
    return Fail(ErrorCode::kInvalidArgument, "the kernel has no 64-bit entry point: {}", kMend);
  }
  const uint64_t setup_sects = head[kSetupSectsOffset] == 0 ? 4 : head[kSetupSectsOffset];
  const uint64_t image_offset = (setup_sects + 1) * 512;
  if (image_offset >= file_size) return Fail(ErrorCode::kInvalidArgument, "the kernel is truncated: {}", kMend);
  // It decompresses itself into init_size bytes from where it is loaded.
  const uint64_t init_size = Field<uint32_t>(head, kInitSizeOffset);
  if (kHighMemoryStart + init_size > memory.size()) {
    return Fail(ErrorCode::kInvalidArgument, "the kernel needs {} MiB to unpack itself; the VM has {} MiB",
                (kHighMemoryStart + init_size) >> 20, memory.size() >> 20);
  }
  auto read =
      ReadIntoGuest(fd, image_offset, file_size - image_offset, GuestAddress(kHighMemoryStart), memory, "kernel");
  if (!read) return Forward(read.error());
  // The header ends where the jump instruction at 0x200 leads to.
  const uint64_t header_end = std::min<uint64_t>(kSetupMagicOffset + head[kJumpOffset + 1], kHeaderBytes);
  return LoadedKernel{
      GuestAddress(kHighMemoryStart + k64BitEntryOffset),
      std::vector<uint8_t>(head.begin() + kSetupHeaderOffset, head.begin() + static_cast<std::ptrdiff_t>(header_end)),
      uint64_t{Field<uint32_t>(head, kInitrdAddrMaxOffset)} + 1};
}

Result<LoadedKernel> LoadElf(int fd, const std::vector<uint8_t>& head, GuestMemory& memory) {
  const auto header = Field<Elf64_Ehdr>(head, 0);
  constexpr uint16_t kMaxSegments = 64;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64 || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kMaxSegments) {
    return Fail(ErrorCode::kInvalidArgument, "the kernel is an ELF file of another kind: {}", kMend);
  }
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  const size_t table_size = segments.size() * sizeof(Elf64_Phdr);
  if (::pread(fd, segments.data(), table_size, static_cast<off_t>(header.e_phoff)) !=
      static_cast<ssize_t>(table_size)) {
    return Fail(ErrorCode::kInvalidArgument, "the kernel is a truncated ELF file: {}", kMend);
  }
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || segment.p_filesz == 0) continue;
    if (segment.p_paddr < kHighMemoryStart) {
      return Fail(ErrorCode::kInvalidArgument, "the kernel wants to be loaded at {:#x}, below 1 MiB",
                  uint64_t{segment.p_paddr});
    }
    auto read = ReadIntoGuest(fd, segment.p_offset, segment.p_filesz, GuestAddress(segment.p_paddr), memory, "kernel");
    if (!read) return Forward(read.error());
  }
  return LoadedKernel{GuestAddress(header.e_entry), {}, memory.size()};
}

}  // namespace

Result<LoadedKernel> LoadKernel(int kernel_fd, GuestMemory& memory) {
  auto size = FileSize(kernel_fd, "kernel");
  if (!size) return Forward(size.error());
  std::vector<uint8_t> head(kHeaderBytes);
  const ssize_t got = ::pread(kernel_fd, head.data(), head.size(), 0);
  if (got < 0) return FailErrno(errno, "reading the kernel");
  if (static_cast<size_t>(got) >= sizeof(Elf64_Ehdr) && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0) {
    return LoadElf(kernel_fd, head, memory);
  }
  if (static_cast<size_t>(got) == head.size() && Field<uint32_t>(head, kSetupMagicOffset) == kSetupMagic) {
    return LoadBzImage(kernel_fd, *size, head, memory);
  }
  return Fail(ErrorCode::kInvalidArgument, "the kernel is neither a bzImage nor an ELF file: {}", kMend);
}

Result<LoadedInitramfs> LoadInitramfs(int initramfs_fd, uint64_t limit, GuestMemory& memory) {
  auto size = FileSize(initramfs_fd, "initramfs");
  if (!size) return Forward(size.error());
  const uint64_t top = std::min(limit, memory.size()) & ~(kPageSize - 1);
  if (*size == 0 || *size > top || top - *size < kHighMemoryStart) {
    return Fail(ErrorCode::kInvalidArgument, "an initramfs of {} bytes does not fit into {} MiB of memory", *size,
                memory.size() >> 20);
  }
  const GuestAddress base((top - *size) & ~(kPageSize - 1));
  auto read = ReadIntoGuest(initramfs_fd, 0, *size, base, memory, "initramfs");
  if (!read) return Forward(read.error());
  return LoadedInitramfs{base, *size};
}

}  // namespace snapfaas::vmm
