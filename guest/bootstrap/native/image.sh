# Run inside the new root file system when it is built.
set -eu
chmod 0755 /usr/lib/snapfaas/bootstrap
# What installation scripts of packages leave for others of their kind.
rm -rf /usr/share/ca-certificates /etc/ca-certificates.conf
