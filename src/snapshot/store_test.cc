#include "snapshot/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_system.h"
#include "snapshot/catalog.h"
#include "snapshot/test_support.h"

namespace snapfaas::snapshot {
namespace {

const SnapshotKey kKey{"python3", 1, 1};

// A published snapshot whose files the tests alter.
class Store : public testing::Test {
 protected:
  Store() : catalog_(Catalog::Open(files_, folder_.path()).value()) {
    auto pending = catalog_.Begin(kKey);
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), 0xaa);
    EXPECT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  }

  SnapshotFiles Find() { return catalog_.Find(kKey).value(); }

  UniqueFd Writable(const std::string& name) {
    return UniqueFd(::open((folder_.path() + "/" + kKey.FolderName() + "/" + name).c_str(), O_RDWR | O_CLOEXEC));
  }

  void FlipByte(const std::string& name, uint64_t at) {
    const UniqueFd file = Writable(name);
    uint8_t byte = 0;
    ASSERT_TRUE(ReadAt(file.get(), at, {&byte, 1}, name));
    byte ^= 0x40;
    ASSERT_TRUE(WriteAt(file.get(), at, {&byte, 1}, name));
  }

  // Replaces the published snapshot by one of a VM that was booted from these.
  void PublishWith(const MemorySources& sources) {
    auto pending = catalog_.Begin(kKey);
    TakeSnapshot(pending->state_fd(), pending->memory_fd(), 0xaa, sources);
    EXPECT_TRUE(catalog_.Publish(std::move(*pending), SomeSources()));
  }

  static void ExpectRefused(const SnapshotFiles& files, ErrorCode code, const MemorySources& sources = {}) {
    const auto loaded = InMemorySnapshot::Load(files, sources);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, code);
    EXPECT_NE(loaded.error().context.find("snapfaas runtime build"), std::string::npos) << loaded.error().context;
  }

  TempFolder folder_;
  PosixFileSystem files_;
  Catalog catalog_;
};

TEST_F(Store, LoadedSnapshotRestoresByCopyAndByMapping) {
  const auto loaded = InMemorySnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  const auto state = ReadState(loaded->state_fd());
  ASSERT_TRUE(state);
  EXPECT_EQ(state->sections, SomeState().sections);
  GuestMemory copied = MakeMemory(1_MiB);
  ASSERT_TRUE(CopyMemoryImage(loaded->memory_fd(), state->memory, copied));
  GuestMemory mapped = MakeMemory(1_MiB);
  ASSERT_TRUE(mapped.MapPrivateImage(loaded->memory_fd()));
  EXPECT_EQ(std::memcmp(copied.host_base(), mapped.host_base(), 1_MiB), 0);
  EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress(9 * kPageSize)).value(), 0xaa);
  EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress(8 * kPageSize)).value(), 0);
}

TEST_F(Store, ResidentBytesAreThePagesAndTheState) {
  const auto loaded = InMemorySnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->resident_bytes(), 2 * kPageSize + loaded->manifest().state_bytes);
}

TEST_F(Store, NobodyCanChangeALoadedSnapshot) {
  const auto loaded = InMemorySnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  for (const int fd : {loaded->state_fd(), loaded->memory_fd()}) {
    const char byte = 1;
    EXPECT_EQ(::pwrite(fd, &byte, 1, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(fd, 1), -1);
    EXPECT_EQ(::ftruncate(fd, 64_MiB), -1);
    EXPECT_EQ(::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  }
}

TEST_F(Store, TwoVmsWriteWithoutSeeingEachOther) {
  const auto loaded = InMemorySnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  GuestMemory one = MakeMemory(1_MiB);
  GuestMemory two = MakeMemory(1_MiB);
  ASSERT_TRUE(one.MapPrivateImage(loaded->memory_fd()));
  ASSERT_TRUE(two.MapPrivateImage(loaded->memory_fd()));
  FillPage(one, 3, 1);
  FillPage(two, 3, 2);
  EXPECT_EQ(one.ReadObject<uint8_t>(GuestAddress(3 * kPageSize)).value(), 1);
  EXPECT_EQ(two.ReadObject<uint8_t>(GuestAddress(3 * kPageSize)).value(), 2);
  uint8_t stored = 0;
  ASSERT_TRUE(ReadAt(loaded->memory_fd(), 3 * kPageSize, {&stored, 1}, "image"));
  EXPECT_EQ(stored, 0xaa);
}

TEST_F(Store, OutlivesItsFolder) {
  const auto loaded = InMemorySnapshot::Load(Find(), {});
  ASSERT_TRUE(loaded);
  ASSERT_TRUE(catalog_.Remove(kKey));
  EXPECT_TRUE(ReadState(loaded->state_fd()));
}

TEST_F(Store, FlippedByteOfTheMemoryIsRefused) {
  FlipByte("memory", 9 * kPageSize + 123);
  ExpectRefused(Find(), ErrorCode::kCorrupt);
}

TEST_F(Store, HoleFilledWithDataIsRefused) {
  FlipByte("memory", 20 * kPageSize);
  ExpectRefused(Find(), ErrorCode::kCorrupt);
}

TEST_F(Store, EveryFlippedByteOfTheStateIsRefused) {
  const SnapshotFiles files = Find();
  for (uint64_t at = 0; at < files.manifest.state_bytes; ++at) {
    FlipByte("state", at);
    EXPECT_FALSE(InMemorySnapshot::Load(files, {})) << at;
    FlipByte("state", at);
  }
  EXPECT_TRUE(InMemorySnapshot::Load(files, {}));
}

TEST_F(Store, TruncatedStateIsRefused) {
  const SnapshotFiles files = Find();
  ASSERT_TRUE(SetSize(Writable("state").get(), files.manifest.state_bytes - 1, "state"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, TruncatedMemoryIsRefused) {
  const SnapshotFiles files = Find();
  ASSERT_TRUE(SetSize(Writable("memory").get(), 1_MiB - kPageSize, "memory"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, StateOfAnotherSnapshotIsRefused) {
  SnapshotFiles files = Find();
  StateFile other = ReadState(files.state.get()).value();
  other.machine.device_set_hash ^= 1;
  ASSERT_TRUE(WriteAt(Writable("state").get(), 0, EncodeState(other).value(), "state"));
  ExpectRefused(files, ErrorCode::kCorrupt);
}

TEST_F(Store, StateOfAnotherVersionIsIncompatible) {
  const uint8_t version = 2;
  ASSERT_TRUE(WriteAt(Writable("state").get(), 8, {&version, 1}, "state"));
  ExpectRefused(Find(), ErrorCode::kIncompatible);
}

TEST_F(Store, CleanPagesComeFromTheRuntimesImages) {
  const UniqueFd runtimefs = MakeSource({0x01, 0xaa});
  PublishWith({-1, runtimefs.get()});
  const SnapshotFiles files = Find();
  EXPECT_EQ(files.manifest.stored_bytes, 0U);
  const auto loaded = InMemorySnapshot::Load(files, {-1, runtimefs.get()});
  ASSERT_TRUE(loaded) << loaded.error().Message();
  EXPECT_EQ(loaded->resident_bytes(), 2 * kPageSize + files.manifest.state_bytes);
  GuestMemory mapped = MakeMemory(1_MiB);
  ASSERT_TRUE(mapped.MapPrivateImage(loaded->memory_fd()));
  for (const uint64_t page : {uint64_t{3}, uint64_t{9}}) {
    EXPECT_EQ(mapped.ReadObject<uint8_t>(GuestAddress((page + 1) * kPageSize - 1)).value(), 0xaa);
  }
}

TEST_F(Store, ChangedRuntimeImageIsRefused) {
  const UniqueFd kernel = MakeSource({0xaa});
  PublishWith({kernel.get(), -1});
  const UniqueFd changed = MakeSource({0xab});
  ExpectRefused(Find(), ErrorCode::kIncompatible, {changed.get(), -1});
}

}  // namespace
}  // namespace snapfaas::snapshot
