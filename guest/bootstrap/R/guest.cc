// What the R bootstrap needs of the system and R has no words for: descriptors by their number (a virtio port cannot be
// opened a second time by a name), and random numbers without touching R's generator. The functions are for R's .C(),
// which passes each vector as a pointer to its first element: no header of R's is needed.

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace {

constexpr int kChannelFd = 3;
constexpr int kControlInFd = 4;
constexpr int kControlOutFd = 5;

// src/wire/frame.h: kMaxFrameBytes.
constexpr size_t kMaxFrameBytes = 6'291'556 + 64 * 1024;
constexpr size_t kMaxHeaderBytes = 64;
// A frame larger than this gives its buffer back: a small machine needs the memory for its function.
constexpr size_t kKeptBytes = 256 * 1024;

// What ReadFrame says of the frame.
enum FrameStatus : int {
  kRead = 0,
  kHasNul = 1,
  kEndlessHeader = 2,
  kMalformedHeader = 3,
  kReadFailed = 4,
  kNoMemory = 5,
};

char* buffer = nullptr;  // what was read and not yet handed out; one byte larger than capacity, for a NUL
size_t capacity = 0;
size_t used = 0;

// The frame that was handed out last starts the buffer; it goes when the next is wanted.
size_t handed_out = 0;
char kept_byte = 0;

bool Reserve(size_t size) {
  if (size <= capacity) return true;
  char* larger = static_cast<char*>(std::realloc(buffer, size + 1));
  if (larger == nullptr) return false;
  buffer = larger;
  capacity = size;
  return true;
}

// Appends at most `wanted` bytes to the buffer, at least one.
FrameStatus Fill(size_t wanted) {
  if (!Reserve(used + wanted)) return kNoMemory;
  timespec pause{0, 1'000'000};
  for (;;) {
    const ssize_t got = ::read(kChannelFd, buffer + used, wanted);
    if (got > 0) {
      used += static_cast<size_t>(got);
      return kRead;
    }
    if (got < 0 && errno != EINTR) return kReadFailed;
    // A virtio port reads as ended while no host is connected to it; the host may come back.
    if (got == 0) {
      ::nanosleep(&pause, nullptr);
      pause.tv_nsec = std::min(2 * pause.tv_nsec, 50'000'000L);
    }
  }
}

void DropHandedOut() {
  if (handed_out == 0) return;
  buffer[handed_out] = kept_byte;
  used -= handed_out;
  std::memmove(buffer, buffer + handed_out, used);
  handed_out = 0;
  if (capacity <= kKeptBytes || used > kKeptBytes) return;
  char* smaller = static_cast<char*>(std::realloc(buffer, kKeptBytes + 1));
  if (smaller == nullptr) return;
  buffer = smaller;
  capacity = kKeptBytes;
}

// "<kind> <length>" of `size` bytes; the kind is ended by a NUL in place of the space.
bool ParseHeader(char* header, size_t size, size_t& length) {
  char* const space = static_cast<char*>(std::memchr(header, ' ', size));
  if (space == nullptr || space == header) return false;
  const size_t digits = static_cast<size_t>(header + size - space) - 1;
  if (digits == 0 || digits > 9) return false;
  length = 0;
  for (const char* digit = space + 1; digit < header + size; ++digit) {
    if (*digit < '0' || *digit > '9') return false;
    length = 10 * length + static_cast<size_t>(*digit - '0');
  }
  *space = '\0';
  return length <= kMaxFrameBytes;
}

FrameStatus ReadFrame(char** kind, char** payload) {
  static char header[kMaxHeaderBytes + 1];
  DropHandedOut();
  char* end = nullptr;
  while (used == 0 || (end = static_cast<char*>(std::memchr(buffer, '\n', used))) == nullptr) {
    if (used > kMaxHeaderBytes) return kEndlessHeader;
    if (const FrameStatus status = Fill(4096); status != kRead) return status;
  }
  const size_t header_size = static_cast<size_t>(end - buffer);
  if (header_size > kMaxHeaderBytes) return kEndlessHeader;
  std::memcpy(header, buffer, header_size);
  size_t length = 0;
  if (!ParseHeader(header, header_size, length)) return kMalformedHeader;
  const size_t whole = header_size + 1 + length;
  while (used < whole) {
    if (const FrameStatus status = Fill(whole - used); status != kRead) return status;
  }
  kept_byte = buffer[whole];
  buffer[whole] = '\0';
  handed_out = whole;
  *kind = header;
  *payload = buffer + header_size + 1;
  return std::memchr(*payload, '\0', length) == nullptr ? kRead : kHasNul;
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t put = ::write(fd, data, size);
    if (put < 0 && errno != EINTR) return false;
    if (put > 0) {
      data += put;
      size -= static_cast<size_t>(put);
    }
  }
  return true;
}

// Writes to the channel as much at once as it can: each write is a trip to the host.
class Gathered {
 public:
  bool Add(const char* text) {
    const size_t size = std::strlen(text);
    if (size > sizeof(bytes_) - used_ && !Flush()) return false;
    if (size > sizeof(bytes_)) return WriteAll(kChannelFd, text, size);
    std::memcpy(bytes_ + used_, text, size);
    used_ += size;
    return true;
  }

  bool Flush() {
    const size_t size = used_;
    used_ = 0;
    return WriteAll(kChannelFd, bytes_, size);
  }

 private:
  size_t used_ = 0;
  char bytes_[16 * 1024];
};

char* quoted_texts = nullptr;

// The letter after a backslash, 'u' where only a number will do, 0 for what stands for itself (RFC 8259, section 7).
char EscapeOf(unsigned char byte) {
  switch (byte) {
    case '"':
    case '\\':
      return static_cast<char>(byte);
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return byte < 0x20 ? 'u' : 0;
  }
}

size_t QuotedSize(const char* text) {
  size_t size = 3;  // the quotes and the NUL
  for (; *text != '\0'; ++text) {
    const char escape = EscapeOf(static_cast<unsigned char>(*text));
    size += escape == 0 ? 1 : escape == 'u' ? 6 : 2;
  }
  return size;
}

// Returns what follows the NUL.
char* Quote(const char* text, char* to) {
  constexpr char kDigits[] = "0123456789abcdef";
  *to++ = '"';
  for (; *text != '\0'; ++text) {
    const unsigned char byte = static_cast<unsigned char>(*text);
    const char escape = EscapeOf(byte);
    if (escape == 0) {
      *to++ = *text;
      continue;
    }
    *to++ = '\\';
    *to++ = escape;
    if (escape == 'u') {
      for (const char digit : {'0', '0', kDigits[byte >> 4], kDigits[byte & 15]}) *to++ = digit;
    }
  }
  *to++ = '"';
  *to++ = '\0';
  return to;
}

// One step of SplitMix64: every input has an output of its own.
uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

#define SNAPFAAS_R extern "C" [[gnu::visibility("default")]] void

// Programs that a function starts get no end of the ports and pipes; and large blocks go back to the kernel when they
// are free, whatever blocks there have been: a small machine has no memory to keep them.
SNAPFAAS_R snapfaas_set_up() {
  for (const int fd : {kChannelFd, kControlInFd, kControlOutFd}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
}

// The next frame of the host. The strings stay until the next call; R copies them when it returns.
SNAPFAAS_R snapfaas_read_frame(int* status, char** kind, char** payload) { *status = ReadFrame(kind, payload); }

// Gives the memory of the last frame back, which R has a copy of.
SNAPFAAS_R snapfaas_drop_frame() { DropHandedOut(); }

// A payload of `count` pieces, which R need not join. `done` is 0 where the host's end cannot be written to.
SNAPFAAS_R snapfaas_write_frame(char** kind, char** pieces, int* count, int* done) {
  char header[kMaxHeaderBytes];
  size_t length = 0;
  for (int i = 0; i < *count; ++i) length += std::strlen(pieces[i]);
  std::snprintf(header, sizeof(header), "%s %zu\n", *kind, length);
  Gathered gathered;
  bool well = gathered.Add(header);
  for (int i = 0; i < *count && well; ++i) well = gathered.Add(pieces[i]);
  *done = well && gathered.Flush() ? 1 : 0;
}

// Texts in UTF-8 as JSON strings: R's regular expressions take many times as long. The strings stay until drop_texts.
SNAPFAAS_R snapfaas_quote_texts(char** texts, int* count) {
  size_t size = 0;
  for (int i = 0; i < *count; ++i) size += QuotedSize(texts[i]);
  char* to = static_cast<char*>(std::malloc(size));
  if (to == nullptr) {
    std::fputs("snapfaas-bootstrap: out of memory\n", stderr);
    std::_Exit(1);
  }
  std::free(quoted_texts);
  quoted_texts = to;
  for (int i = 0; i < *count; ++i) {
    char* const quoted = to;
    to = Quote(texts[i], to);
    texts[i] = quoted;
  }
}

SNAPFAAS_R snapfaas_drop_texts() {
  std::free(quoted_texts);
  quoted_texts = nullptr;
}

// A line of the agent, without its end. `done` is 0 where the agent is gone.
SNAPFAAS_R snapfaas_read_control(char** line, int* done) {
  static char text[512];
  size_t size = 0;
  *done = 0;
  while (size + 1 < sizeof(text)) {
    const ssize_t got = ::read(kControlInFd, text + size, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    if (text[size] == '\n') {
      *done = 1;
      break;
    }
    ++size;
  }
  text[size] = '\0';
  *line = text;
}

SNAPFAAS_R snapfaas_write_control(char** line) { WriteAll(kControlOutFd, *line, std::strlen(*line)); }

// OpenSSL takes a restored microVM for the process that it was. Nothing to do where no package has loaded it.
static void ReseedOpenSsl() {
  void* const library = ::dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return;
  if (void* const poll = ::dlsym(library, "RAND_poll")) reinterpret_cast<int (*)()>(poll)();
  ::dlclose(library);
}

// `state`: 624 words for R's Mersenne-Twister. `seed` is 64 hexadecimal digits: four numbers, each of which gives every
// fourth pair of words. C's own generators, which R's tempfile() uses, get theirs.
SNAPFAAS_R snapfaas_spread_seed(char** seed, int* state) {
  constexpr int kWords = 624;
  uint64_t numbers[4] = {};
  for (size_t digit = 0; digit < 64 && (*seed)[digit] != '\0'; ++digit) {
    const char text[2] = {(*seed)[digit], '\0'};
    numbers[digit / 16] = numbers[digit / 16] << 4 | std::strtoul(text, nullptr, 16);
  }
  for (int pair = 0; pair < kWords / 2; ++pair) {
    const uint64_t mixed = Mix(numbers[pair % 4] += 0x9e3779b97f4a7c15);
    state[2 * pair] = static_cast<int>(mixed);
    state[2 * pair + 1] = static_cast<int>(mixed >> 32);
  }
  ::srand(static_cast<unsigned>(Mix(numbers[0])));
  ::srandom(static_cast<unsigned>(Mix(numbers[1])));
  ReseedOpenSsl();
}

SNAPFAAS_R snapfaas_random_bytes(unsigned char* bytes, int* size) {
  for (int got = 0; got < *size;) {
    const ssize_t more = ::getrandom(bytes + got, static_cast<size_t>(*size - got), 0);
    if (more > 0) got += static_cast<int>(more);
  }
}

// What C code of packages has printed and not yet sent.
SNAPFAAS_R snapfaas_flush() {
  std::fflush(stdout);
  std::fflush(stderr);
}

// Memory that R has given back goes to the kernel: it would be in the snapshot else.
SNAPFAAS_R snapfaas_trim() { ::malloc_trim(0); }

SNAPFAAS_R snapfaas_bytes_in_use(double* bytes) {
  const struct mallinfo2 info = ::mallinfo2();
  *bytes = static_cast<double>(info.uordblks + info.hblkhd);
}
