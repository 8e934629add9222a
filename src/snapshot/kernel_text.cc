#include "snapshot/kernel_text.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/units.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"

namespace snapfaas::snapshot {
namespace {

constexpr std::string_view kKernelWhat = "the kernel";
constexpr uint64_t kTextMagic = 0x54584554'50414e53;  // "SNAPTEXT", little-endian
constexpr uint32_t kTextVersion = 1;
constexpr uint32_t kRegionPages = kHugePageSize / kPageSize;
// Of a region's pages that the kernel has patched: below this it is no text.
constexpr uint32_t kLeastPatched = kRegionPages / 2;

struct Trailer {
  uint32_t first_page = 0;
  uint32_t pages = 0;
  uint64_t checksum = 0;
};

std::vector<uint8_t> EncodeTrailer(const Trailer& trailer) {
  ByteWriter writer;
  writer.Put(kTextMagic);
  writer.Put(kTextVersion);
  writer.Put(trailer.first_page);
  writer.Put(trailer.pages);
  writer.Put(trailer.checksum);
  writer.Put(Hash64(writer.bytes()));
  std::vector<uint8_t> page = writer.Take();
  page.resize(kPageSize);
  return page;
}

tl::unexpected<Error> DamagedText(std::string_view why) {
  return Fail(ErrorCode::kCorrupt,
              "the running kernel's text is damaged ({}); remove vmlinux.running from the kernel's "
              "folder and build the runtimes again",
              why);
}

// Nothing where the file's last page is not one.
Result<std::optional<Trailer>> ReadTrailer(int fd) {
  auto size = SizeOf(fd, kKernelWhat);
  if (!size) return Forward(size.error());
  if (*size < kPageSize || *size % kPageSize != 0) return std::optional<Trailer>();
  std::vector<uint8_t> page(kPageSize);
  auto read = ReadAt(fd, *size - kPageSize, page, kKernelWhat);
  if (!read) return Forward(read.error());
  ByteReader reader(page);
  if (reader.Get<uint64_t>() != kTextMagic) return std::optional<Trailer>();
  if (reader.Get<uint32_t>() != kTextVersion) return DamagedText("it has another version");
  Trailer trailer;
  trailer.first_page = reader.Get<uint32_t>();
  trailer.pages = reader.Get<uint32_t>();
  trailer.checksum = reader.Get<uint64_t>();
  const uint64_t end = (uint64_t{trailer.first_page} + trailer.pages) * kPageSize;
  if (page != EncodeTrailer(trailer) || end != *size - kPageSize || trailer.pages == 0) {
    return DamagedText("its last page is altered");
  }
  return std::optional(trailer);
}

// Regions of guest-physical memory, as indices in steps of 2 MiB, that the kernel's file loads code into.
Result<std::vector<uint32_t>> CodeRegions(int fd) {
  Elf64_Ehdr header{};
  auto read = ReadAt(fd, 0, {reinterpret_cast<uint8_t*>(&header), sizeof(header)}, kKernelWhat);
  if (!read) return Forward(read.error());
  std::vector<uint32_t> regions;
  const bool is_elf = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_phentsize == sizeof(Elf64_Phdr);
  for (uint64_t i = 0; is_elf && i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    read = ReadAt(fd, header.e_phoff + i * sizeof(segment), {reinterpret_cast<uint8_t*>(&segment), sizeof(segment)},
                  kKernelWhat);
    if (!read) return Forward(read.error());
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 || (segment.p_flags & PF_W) != 0) continue;
    const uint64_t first = (segment.p_paddr + kHugePageSize - 1) / kHugePageSize;
    const uint64_t end = (segment.p_paddr + segment.p_filesz) / kHugePageSize;
    for (uint64_t region = first; region < end; ++region) regions.push_back(static_cast<uint32_t>(region));
  }
  return regions;
}

// The region's bytes; nothing where too little of it differs from the kernel's file.
Result<std::optional<std::vector<uint8_t>>> PatchedRegion(int kernel_fd, int memory_fd, const MemoryMap& map,
                                                          uint32_t region) {
  const uint64_t region_first = uint64_t{region} * kRegionPages;
  std::vector<uint8_t> bytes(kHugePageSize);
  uint64_t patched = 0;
  for (const MemoryRun& run : map.runs) {
    const uint64_t first = std::max<uint64_t>(run.first_page, region_first);
    const uint64_t end = std::min<uint64_t>(uint64_t{run.first_page} + run.pages, region_first + kRegionPages);
    if (first >= end || run.source == PageSource::kZero) continue;
    const auto to = std::span(bytes).subspan((first - region_first) * kPageSize, (end - first) * kPageSize);
    const uint64_t source_page = run.source_page + (first - run.first_page);
    auto read = run.IsStored() ? ReadAt(memory_fd, first * kPageSize, to, "the snapshot's memory image")
                               : ReadAt(kernel_fd, source_page * kPageSize, to, kKernelWhat);
    if (!read) return Forward(read.error());
    if (run.IsStored()) patched += end - first;
  }
  if (patched < kLeastPatched) return std::optional<std::vector<uint8_t>>();
  return std::optional(std::move(bytes));
}

Result<std::vector<uint8_t>> PatchedText(int kernel_fd, int memory_fd, const MemoryMap& map) {
  auto regions = CodeRegions(kernel_fd);
  if (!regions) return Forward(regions.error());
  std::vector<uint8_t> text;
  for (const uint32_t region : *regions) {
    auto bytes = PatchedRegion(kernel_fd, memory_fd, map, region);
    if (!bytes) return Forward(bytes.error());
    if (*bytes) text.insert(text.end(), (*bytes)->begin(), (*bytes)->end());
  }
  return text;
}

Result<bool> HasText(FileSystem& files, const std::string& running) {
  auto exists = files.Exists(running);
  if (!exists || !*exists) return exists;
  auto file = files.OpenForReading(running);
  if (!file) return Forward(file.error());
  auto trailer = ReadTrailer(file->get());
  if (!trailer) return Forward(trailer.error());
  return trailer->has_value();
}

Status Copy(int from, uint64_t size, int to) {
  std::vector<uint8_t> buffer(1_MiB);
  for (uint64_t at = 0; at < size; at += buffer.size()) {
    const auto bytes = std::span(buffer).first(std::min<uint64_t>(buffer.size(), size - at));
    auto done = ReadAt(from, at, bytes, kKernelWhat);
    if (done) done = WriteAt(to, at, bytes, kKernelWhat);
    if (!done) return done;
  }
  return {};
}

Status WriteWithText(int kernel_fd, std::span<const uint8_t> text, int to) {
  auto size = SizeOf(kernel_fd, kKernelWhat);
  if (!size) return Forward(size.error());
  const uint64_t start = (*size + kHugePageSize - 1) / kHugePageSize * kHugePageSize;
  const Trailer trailer{static_cast<uint32_t>(start / kPageSize), static_cast<uint32_t>(text.size() / kPageSize),
                        Hash64(text)};
  auto done = Copy(kernel_fd, *size, to);
  if (done) done = WriteAt(to, start, text, kKernelWhat);
  if (done) done = WriteAt(to, start + text.size(), EncodeTrailer(trailer), kKernelWhat);
  return done;
}

}  // namespace

Result<TextRange> FindKernelText(int kernel_fd) {
  auto trailer = ReadTrailer(kernel_fd);
  if (!trailer) return Forward(trailer.error());
  if (!*trailer) return TextRange();
  return TextRange{(*trailer)->first_page, (*trailer)->first_page + (*trailer)->pages};
}

Result<std::shared_ptr<const KernelText>> KernelText::Load(int kernel_fd) {
  auto trailer = ReadTrailer(kernel_fd);
  if (!trailer) return Forward(trailer.error());
  if (!*trailer) return std::shared_ptr<const KernelText>();
  const auto [first_page, pages, checksum] = **trailer;
  std::vector<uint8_t> text(pages * kPageSize);
  auto read = ReadAt(kernel_fd, first_page * kPageSize, text, kKernelWhat);
  if (!read) return Forward(read.error());
  if (Hash64(text) != checksum) return DamagedText("its checksum differs");
  auto image = InMemoryImage::Of(text, "snapfaas-kernel-text");
  if (!image) return Forward(image.error());
  return std::shared_ptr<const KernelText>(new KernelText(std::move(*image), {first_page, first_page + pages}));
}

Result<bool> MakeRunningKernel(FileSystem& files, const std::string& kernel, const std::string& running, int memory_fd,
                               const MemoryMap& map) {
  const std::string folder = std::filesystem::path(running).parent_path().string();
  auto lock = files.LockFolder(folder, LockMode::kExclusive);
  if (!lock) return Forward(lock.error());
  auto there = HasText(files, running);
  if (!there) return Forward(there.error());
  if (*there) return false;
  auto from = files.OpenForReading(kernel);
  if (!from) return Forward(from.error());
  auto text = PatchedText(from->get(), memory_fd, map);
  if (!text) return Forward(text.error());
  if (text->empty()) return false;

  const std::string made = running + ".new";
  // Of somebody who was killed at it: nobody else is here.
  static_cast<void>(files.RemoveFile(made));
  auto to = files.OpenForWriting(made);
  if (!to) return Forward(to.error());
  auto done = WriteWithText(from->get(), *text, to->get());
  if (done) done = files.SyncFile(made);
  if (done) done = files.Rename(made, running);
  if (!done) {
    static_cast<void>(files.RemoveFile(made));
    return Forward(done.error());
  }
  done = files.SyncFolder(folder);
  if (!done) return Forward(done.error());
  return true;
}

}  // namespace snapfaas::snapshot
