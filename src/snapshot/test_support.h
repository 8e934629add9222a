// What the tests of snapshots share: a small VM's memory and state.
#pragma once

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "memory/guest_memory.h"
#include "snapshot/format.h"
#include "snapshot/hash.h"
#include "snapshot/io.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_image.h"

namespace snapfaas::snapshot {

inline UniqueFd MakeMemoryFile() { return UniqueFd(::memfd_create("test", MFD_CLOEXEC)); }

inline GuestMemory MakeMemory(uint64_t size) { return std::move(GuestMemory::Create(size).value()); }

inline void FillPage(GuestMemory& memory, uint64_t page, uint8_t value) {
  const std::vector<uint8_t> bytes(kPageSize, value);
  ASSERT_TRUE(memory.Write(GuestAddress(page * kPageSize), bytes));
}

inline CpuFingerprint SomeCpu() {
  return CpuFingerprint{{'A', 'u', 't', 'h', 'e', 'n', 't', 'i', 'c', 'A', 'M', 'D'}, 25, 1, 2, 832, 0x1234};
}

inline Expectation SomeMachine() { return Expectation{1_MiB, 1, SomeCpu(), 0x5678}; }

inline StateFile SomeState() {
  StateFile state;
  state.machine = SomeMachine();
  state.memory.runs = {{0, 1, 11}, {1, 2, 12, PageSource::kKernel, 77}, {200, 56, 13, PageSource::kKernel, 5}};
  state.sections = {{kFirstVmmSection, {1, 2, 3}}, {kFirstVmmSection + 7, {}}, {kFirstVmmSection + 1, {4}}};
  return state;
}

inline const SnapshotKey kKey{"python3", 1, 1};
inline const SnapshotKey kFunctionKey{"python3", 1, 1, IdentityHash("function")};

inline SnapshotSources SomeSources() {
  return SnapshotSources{IdentityHash("kernel"), IdentityHash("initramfs"), IdentityHash("runtimefs")};
}

// Makes the bytes begin as a kernel with one loadable segment does.
inline void PutElfHeaders(std::vector<uint8_t>& kernel, uint32_t flags, uint64_t address, uint64_t size) {
  Elf64_Ehdr header{};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_phoff = sizeof(header);
  header.e_phnum = 1;
  header.e_phentsize = sizeof(Elf64_Phdr);
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = flags;
  segment.p_paddr = address;
  segment.p_filesz = segment.p_memsz = size;
  std::memcpy(kernel.data(), &header, sizeof(header));
  std::memcpy(kernel.data() + sizeof(header), &segment, sizeof(segment));
}

// A file of whole pages, each filled with one of the values.
inline UniqueFd MakeSource(const std::vector<uint8_t>& values) {
  UniqueFd file = MakeMemoryFile();
  for (size_t page = 0; page < values.size(); ++page) {
    EXPECT_TRUE(WriteAt(file.get(), page * kPageSize, std::vector<uint8_t>(kPageSize, values[page]), "a source"));
  }
  return file;
}

// Fills the two files as a VMM would with a function snapshot: `restored` went on from the base whose state file is
// `base_state_fd` and whose pages are those of `base`.
inline void TakeFunctionSnapshot(int state_fd, int memory_fd, const GuestMemory& restored, int base_state_fd,
                                 const GuestMemory& base) {
  auto map = WriteLayerImage(memory_fd, restored, base);
  ASSERT_TRUE(map) << map.error().Message();
  std::vector<uint8_t> base_state(SizeOf(base_state_fd, "state").value());
  ASSERT_TRUE(ReadAt(base_state_fd, 0, base_state, "state"));
  StateFile state = SomeState();
  state.base_checksum = Hash64(base_state);
  state.memory = *map;
  const auto bytes = EncodeState(state).value();
  ASSERT_TRUE(WriteAt(state_fd, 0, bytes, "state"));
}

// Fills the two files as a VMM would: a VM of 1 MiB and one vCPU whose pages 3 and 9 hold `value`.
inline void TakeSnapshot(int state_fd, int memory_fd, uint8_t value, const MemorySources& sources = {}) {
  GuestMemory memory = MakeMemory(1_MiB);
  FillPage(memory, 3, value);
  FillPage(memory, 9, value);
  auto map = WriteMemoryImage(memory_fd, memory, sources);
  ASSERT_TRUE(map) << map.error().Message();
  StateFile state = SomeState();
  state.memory = *map;
  const auto bytes = EncodeState(state).value();
  ASSERT_TRUE(WriteAt(state_fd, 0, bytes, "state"));
}

}  // namespace snapfaas::snapshot
