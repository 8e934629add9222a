// Runs before the guest's /init where another VMM has virtio-blk disks in the place of our persistent memory, and gives
// them the names that /init and the agent know. Neither of the two, nor the root file system, is another for it.

#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(void) {
  // There is one devtmpfs: what is made here is in /init's mount of it too. The links are there before the disks are.
  if (mount("dev", "/dev", "devtmpfs", 0, NULL) != 0 || symlink("vda", "/dev/pmem0") != 0 ||
      symlink("vdb", "/dev/pmem1") != 0 || umount("/dev") != 0) {
    perror("disks");
    return 1;
  }
  execl("/init", "/init", NULL);
  perror("disks: /init");
  return 1;
}
