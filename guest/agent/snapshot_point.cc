#include "agent/snapshot_point.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>

#include "common/console.h"

namespace snapfaas::guest {
namespace {

constexpr int kOpenRcWaitMillis = 2'000;
// Some dozen ticks.
constexpr int kSettleMillis = 100;

void SleepMillis(long millis) {
  const timespec time{millis / 1000, (millis % 1000) * 1'000'000};
  ::nanosleep(&time, nullptr);
}

size_t ReadSmallFile(const char* path, char* text, size_t size) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t length = ::read(fd, text, size - 1);
  ::close(fd);
  const size_t used = length > 0 ? static_cast<size_t>(length) : 0;
  text[used] = '\0';
  return used;
}

void WriteSmallFile(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, text, std::strlen(text)) < 0) Say("cannot write %s to %s", text, path);
  if (fd >= 0) ::close(fd);
}

// openrc, openrc-run and the shells below them have "openrc" or "rc" in their names; openrc-init stays.
bool OpenRcIsBusy() {
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return false;
  bool busy = false;
  while (const dirent* entry = ::readdir(proc)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    char path[300];
    std::snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
    char name[32];
    ReadSmallFile(path, name, sizeof(name));
    name[std::strcspn(name, "\n")] = '\0';
    if (std::strcmp(name, "openrc") == 0 || std::strcmp(name, "openrc-run") == 0 ||
        std::strcmp(name, "openrc-run.sh") == 0) {
      busy = true;
      break;
    }
  }
  ::closedir(proc);
  return busy;
}

bool CommandLineHas(const char* word) {
  static char text[4096];
  ReadSmallFile("/proc/cmdline", text, sizeof(text));
  char* state = nullptr;
  for (char* token = ::strtok_r(text, " \n", &state); token != nullptr; token = ::strtok_r(nullptr, " \n", &state)) {
    if (std::strcmp(token, word) == 0) return true;
  }
  return false;
}

// Takes free memory as anonymous pages, which the kernel zeroes, and gives it back. The allocator hands out what was
// freed lately before what was never used, so a bounded part is enough however large the VM is. The kernel keeps a
// reserve that it does not hand out, so the reserve is made small for the while.
void ZeroFreeMemory() {
  constexpr size_t kChunk = size_t{1} << 20;
  constexpr unsigned long kKeep = 2UL << 20;
  constexpr char kReserve[] = "/proc/sys/vm/min_free_kbytes";
  char reserve[32];
  ReadSmallFile(kReserve, reserve, sizeof(reserve));
  WriteSmallFile(kReserve, "256");
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return;
  constexpr size_t kMostEverUsed = size_t{160} << 20;
  const size_t limit = std::min<size_t>(info.totalram, kMostEverUsed);
  void* mapping = ::mmap(nullptr, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping != MAP_FAILED) {
    auto* bytes = static_cast<char*>(mapping);
    for (size_t done = 0; done + kChunk <= limit; done += kChunk) {
      if (::sysinfo(&info) != 0 || info.freeram * info.mem_unit < kKeep + kChunk) break;
      if (::madvise(bytes + done, kChunk, MADV_POPULATE_WRITE) != 0) break;
    }
    ::munmap(mapping, limit);
  }
  WriteSmallFile(kReserve, reserve);
}

constexpr char kDebugFolder[] = "/sys/kernel/debug";

// The knob is in debugfs only, which is mounted for the moment. Without it there is more in the snapshot; that is all.
void SetFaultAround(const char* bytes) {
  if (::mount("debugfs", kDebugFolder, "debugfs", 0, nullptr) != 0) return;
  WriteSmallFile("/sys/kernel/debug/fault_around_bytes", bytes);
  ::umount(kDebugFolder);
}

struct Meeting {
  const DoorbellPage* doorbell;
  int expected;
  std::atomic<int> arrived{0};
};

void MeetAndRing(Meeting& meeting) {
  meeting.arrived.fetch_add(1);
  while (meeting.arrived.load() < meeting.expected) __builtin_ia32_pause();
  meeting.doorbell->Ring(wire::Doorbell::kSnapshot);
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  ::sched_setaffinity(0, sizeof(set), &set);
  const sched_param priority{99};
  ::sched_setscheduler(0, SCHED_FIFO, &priority);
}

struct Participant {
  Meeting* meeting;
  int cpu;
};

void* RunParticipant(void* argument) {
  const std::unique_ptr<Participant> participant(static_cast<Participant*>(argument));
  PinTo(participant->cpu);
  MeetAndRing(*participant->meeting);
  return nullptr;
}

}  // namespace

void WaitForOpenRc() {
  for (int waited = 0; waited < kOpenRcWaitMillis && OpenRcIsBusy(); ++waited) SleepMillis(1);
}

void MapFilesSparsely() { SetFaultAround("4096"); }

void ShrinkMemory() {
  SetFaultAround("65536");
  ::sync();
  WriteSmallFile("/proc/sys/vm/drop_caches", "3");
  if (CommandLineHas("snapfaas.scrub")) ZeroFreeMemory();
}

void QuietKernel() {
  constexpr struct {
    const char* path;
    const char* value;
  } kSettings[] = {
      {"/proc/sys/vm/compaction_proactiveness", "0"},
      {"/proc/sys/vm/stat_interval", "86400"},
      {"/proc/sys/vm/dirty_writeback_centisecs", "0"},
  };
  for (const auto& setting : kSettings) WriteSmallFile(setting.path, setting.value);
}

void LetKernelSettle() { SleepMillis(kSettleMillis); }

void RingFromEveryCpu(const DoorbellPage& doorbell) {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (::sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) == 1) {
    doorbell.Ring(wire::Doorbell::kSnapshot);
    return;
  }
  // Never freed: the threads may end long after this function has returned. It happens twice in a VM's life.
  auto& meeting = *new Meeting{&doorbell, CPU_COUNT(&all)};
  int own_cpu = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<size_t>(cpu), &all)) continue;
    if (own_cpu < 0) {
      own_cpu = cpu;
      continue;
    }
    auto participant = std::make_unique<Participant>(Participant{&meeting, cpu});
    pthread_t thread{};
    if (::pthread_create(&thread, nullptr, RunParticipant, participant.get()) != 0) {
      DieAndPowerOff("cannot make a thread for vCPU %d", cpu);
    }
    static_cast<void>(participant.release());  // the thread owns it now
    ::pthread_detach(thread);
  }
  // The others are pinned and spinning before this thread takes its CPU for itself.
  while (meeting.arrived.load() < meeting.expected - 1) ::sched_yield();
  PinTo(own_cpu);
  MeetAndRing(meeting);
  const sched_param ordinary{0};
  ::sched_setscheduler(0, SCHED_OTHER, &ordinary);
  ::sched_setaffinity(0, sizeof(all), &all);
}

}  // namespace snapfaas::guest
