#include "agent/identity.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "common/console.h"

namespace snapfaas::guest {
namespace {

void SetClock(int64_t realtime_ns) {
  constexpr int64_t kNanos = 1'000'000'000;
  if (realtime_ns <= 0) return;
  const timespec time{realtime_ns / kNanos, realtime_ns % kNanos};
  if (::clock_settime(CLOCK_REALTIME, &time) != 0) Say("cannot set the clock: %s", std::strerror(errno));
}

void SetHostName(const char (&name)[64]) {
  const size_t length = ::strnlen(name, sizeof(name));
  if (length > 0 && ::sethostname(name, length) != 0) Say("cannot set the host name: %s", std::strerror(errno));
}

// Adding entropy alone reaches the generator only with its next reseeding, up to a minute later: two VMs of one
// snapshot would draw the same numbers until then.
void Reseed(int urandom, const uint8_t (&seed)[64]) {
  alignas(rand_pool_info) uint8_t buffer[sizeof(rand_pool_info) + sizeof(seed)] = {};
  rand_pool_info header{};
  header.entropy_count = 8 * sizeof(seed);
  header.buf_size = sizeof(seed);
  std::memcpy(buffer, &header, sizeof(header));
  std::memcpy(buffer + sizeof(header), seed, sizeof(seed));
  if (::ioctl(urandom, RNDADDENTROPY, buffer) != 0 || ::ioctl(urandom, RNDRESEEDCRNG) != 0) {
    Say("cannot reseed the kernel's random source: %s", std::strerror(errno));
  }
}

// The kernel draws its boot id once and never again. A file of ours in its place can be written anew.
constexpr char kBootId[] = "/proc/sys/kernel/random/boot_id";
constexpr char kOwnBootId[] = "/run/snapfaas-boot-id";

int ReplaceBootId() {
  const int fd = ::open(kOwnBootId, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0 || ::mount(kOwnBootId, kBootId, nullptr, MS_BIND, nullptr) != 0) {
    Say("cannot put a boot id of its own into this VM: %s", std::strerror(errno));
  }
  return fd;
}

// A random UUID (RFC 9562, version 4), from the kernel that was reseeded just before.
void WriteBootId(int fd) {
  uint8_t bytes[16] = {};
  if (fd < 0 || ::getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != static_cast<ssize_t>(sizeof(bytes))) return;
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  char text[40];
  const int length =
      std::snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n",
                    bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
                    bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]);
  if (::pwrite(fd, text, static_cast<size_t>(length), 0) != length) Say("cannot write the boot id");
}

}  // namespace

IdentitySource::IdentitySource()
    : page_("/dev/mem", wire::kIdentityPageBase, MmioPage::Access::kReadOnly),
      urandom_(::open("/dev/urandom", O_RDWR | O_CLOEXEC)),
      boot_id_(ReplaceBootId()) {
  // Its page is there from now on, so that a restored VM only writes to it.
  WriteBootId(boot_id_);
}

bool IdentitySource::Read(wire::IdentityPage& identity) const {
  if (!page_.mapped()) return false;
  uint64_t words[sizeof(identity) / sizeof(uint64_t)];
  static_assert(sizeof(words) == sizeof(identity));
  const auto* source = reinterpret_cast<const volatile uint64_t*>(page_.bytes());
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i) words[i] = source[i];
  std::memcpy(&identity, words, sizeof(identity));
  return identity.magic == wire::kIdentityMagic;
}

void IdentitySource::Apply(const wire::IdentityPage& identity) const {
  SetClock(identity.realtime_ns);
  SetHostName(identity.hostname);
  Reseed(urandom_, identity.seed);
  WriteBootId(boot_id_);
}

void IdentitySource::MakeLanguageSeed(char (&hex)[65]) const {
  uint8_t bytes[32] = {};
  if (::getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != static_cast<ssize_t>(sizeof(bytes))) {
    Say("the kernel has no random bytes to give");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < sizeof(bytes); ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  hex[64] = '\0';
}

}  // namespace snapfaas::guest
