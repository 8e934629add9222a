// What a guest of Firecracker's has in the place of our init and our agent: Firecracker has no virtio-console, so its
// request channel is a vsock connection, to port 1024. Kernel, root file system, language bootstrap and function are
// the same, and so is what is said over the channel (docs/guest_contract.md).
//
// As process 1 it is the initramfs' init; the service that OpenRC starts is the same file again, over the agent.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT "usr/lib/snapfaas/agent"
#define PORT 1024

static void die(const char* what) {
  fprintf(stderr, "vsock-guest: %s: %s\n", what, strerror(errno));
  reboot(RB_AUTOBOOT);
  exit(1);
}

static void check(int result, const char* what) {
  if (result < 0) die(what);
}

// --- init
// -------------------------------------------------------------------------------------------------------------

static void load_modules(void) {
  FILE* list = fopen("/modules.list", "re");
  if (!list) die("/modules.list");
  char line[256];
  while (fgets(line, sizeof(line), list)) {
    line[strcspn(line, "\n")] = '\0';
    const int fd = open(line, O_RDONLY | O_CLOEXEC);
    check(fd, line);
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) die(line);
    close(fd);
    unlink(line);
  }
  fclose(list);
}

static void start_guest(void) {
  check(mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"), "/dev");
  load_modules();
  for (int waited = 0; access("/dev/vda", F_OK) != 0; ++waited) {
    if (waited == 10000) die("/dev/vda");
    usleep(1000);
  }
  check(mount("/dev/vda", "/root", "erofs", MS_RDONLY, NULL), "root file system");
  check(mount("/vsock-guest", "/root/" AGENT, NULL, MS_BIND, NULL), AGENT);
  check(chdir("/root"), "/root");
  check(mount("/dev", "dev", NULL, MS_MOVE, NULL), "/dev");
  check(mount("proc", "proc", "proc", 0, NULL), "/proc");
  check(mount("sysfs", "sys", "sysfs", 0, NULL), "/sys");
  check(mount("run", "run", "tmpfs", 0, "mode=0755,size=10%"), "/run");
  check(mount("tmp", "tmp", "tmpfs", 0, "mode=1777,size=40%"), "/tmp");
  check(mount(".", "/", NULL, MS_MOVE, NULL), "/");
  check(chroot("."), "/");
  check(chdir("/"), "/");
  char* const arguments[] = {"/sbin/openrc-init", NULL};
  char* const environment[] = {"HOME=/", "TERM=linux", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  execve(arguments[0], arguments, environment);
  die(arguments[0]);
}

// --- agent
// ------------------------------------------------------------------------------------------------------------

static void run_bootstrap(const int fds[6]) {
  static char text[4096];
  char* arguments[33] = {0};
  const int fd = open("/etc/snapfaas/bootstrap", O_RDONLY);
  if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0) die("the bootstrap's command");
  close(fd);
  int count = 0;
  for (char* word = strtok(text, "\n"); word && count < 32; word = strtok(NULL, "\n")) arguments[count++] = word;
  for (int target = 0; target < 6; ++target) check(dup2(fds[target], target), "dup2");
  char* const environment[] = {"LAMBDA_TASK_ROOT=/var/task",
                               "LANG=C.UTF-8",
                               "TZ=:UTC",
                               "HOME=/tmp",
                               "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                               NULL};
  setsid();
  execve(arguments[0], arguments, environment);
  die(arguments[0]);
}

static int out_of_the_way(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  check(moved, "fcntl");
  close(fd);
  return moved;
}

// The bootstrap's next line must be `wanted`.
static void expect(int fd, const char* wanted) {
  char line[64];
  size_t used = 0;
  while (used < sizeof(line) && read(fd, line + used, 1) == 1 && line[used] != '\n') ++used;
  if (used != strlen(wanted) || memcmp(line, wanted, used) != 0) die(wanted);
}

static void load_function(int to, int from) {
  expect(from, "ready");
  check(mount("/dev/vdb", "/var/task", "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL), "/var/task");
  unsigned char seed[32];
  check((int)getrandom(seed, sizeof(seed), 0), "getrandom");
  dprintf(to, "load ");
  for (size_t i = 0; i < sizeof(seed); ++i) dprintf(to, "%02x", seed[i]);
  dprintf(to, "\n");
  expect(from, "loaded");
}

// True while there is something to pass on.
static int pass(int from, int to) {
  char bytes[65536];
  const ssize_t got = read(from, bytes, sizeof(bytes));
  for (ssize_t done = 0; done < got;) {
    const ssize_t written = write(to, bytes + done, (size_t)(got - done));
    if (written < 0) return 0;
    done += written;
  }
  return got > 0;
}

static void serve(void) {
  int requests[2];
  int down[2];
  int up[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, requests), "socketpair");
  check(pipe2(down, O_CLOEXEC), "pipe");
  check(pipe2(up, O_CLOEXEC), "pipe");
  const int fds[6] = {out_of_the_way(open("/dev/null", O_RDWR)),
                      1,
                      2,
                      out_of_the_way(requests[1]),
                      out_of_the_way(down[0]),
                      out_of_the_way(up[1])};
  const pid_t child = fork();
  check(child, "fork");
  if (child == 0) run_bootstrap(fds);
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 6; ++i) {
    if (fds[i] > 2) close(fds[i]);
  }
  load_function(down[1], up[0]);
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(listener, "vsock");
  const struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = PORT, .svm_cid = VMADDR_CID_ANY};
  check(bind(listener, (const struct sockaddr*)&address, sizeof(address)), "bind");
  check(listen(listener, 4), "listen");
  // One connection after the other: a restore ends the one there was, and the listener stays.
  for (;;) {
    const int host = accept(listener, NULL, NULL);
    check(host, "accept");
    struct pollfd both[2] = {{.fd = host, .events = POLLIN}, {.fd = requests[0], .events = POLLIN}};
    int open_still = 1;
    while (open_still && poll(both, 2, -1) >= 0) {
      if (both[0].revents) open_still = pass(host, requests[0]);
      if (open_still && both[1].revents) open_still = pass(requests[0], host);
    }
    close(host);
  }
}

int main(void) {
  if (getpid() == 1) start_guest();
  serve();
}
