#include "common/console.h"

#include <fcntl.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace snapfaas::guest {
namespace {

const char* g_program = "guest";

void SayV(const char* format, va_list args) {
  // One write, so that lines of several programs do not mix.
  char line[512];
  int used = std::snprintf(line, sizeof(line), "snapfaas-%s: ", g_program);
  used += std::vsnprintf(line + used, sizeof(line) - static_cast<size_t>(used) - 1, format, args);
  auto length = static_cast<size_t>(used);
  if (length > sizeof(line) - 2) length = sizeof(line) - 2;
  line[length] = '\n';
  if (::write(STDERR_FILENO, line, length + 1) < 0) return;
}

// The kernel turns a power-off that the machine does not offer into a halt, which the host would not notice.
bool CanPowerOff() {
  const int fd = ::open("/sys/power/state", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  const int s5 = ::open("/sys/firmware/acpi/tables/FACP", O_RDONLY | O_CLOEXEC);
  if (s5 >= 0) ::close(s5);
  return fd >= 0 || s5 >= 0;
}

}  // namespace

void SetProgramName(const char* name) { g_program = name; }

void Say(const char* format, ...) {
  va_list args;
  va_start(args, format);
  SayV(format, args);
  va_end(args);
}

void DieAndPowerOff(const char* format, ...) {
  va_list args;
  va_start(args, format);
  SayV(format, args);
  va_end(args);
  ::tcdrain(STDERR_FILENO);
  ::sync();
  ::reboot(CanPowerOff() ? RB_POWER_OFF : RB_AUTOBOOT);
  for (;;) ::pause();
}

}  // namespace snapfaas::guest
