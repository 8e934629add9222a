# Run inside the new root file system when it is built.
set -eu
chmod 0755 /usr/lib/snapfaas/bootstrap
