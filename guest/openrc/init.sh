#!/bin/sh
# In place of OpenRC's /lib/rc/sh/init.sh, which looks for mounts that are missing and makes them with a dozen programs.
# Here /init of the initramfs has made them.
mkdir -p "$RC_SVCDIR" /run/lock
echo sysinit >"$RC_SVCDIR/softlevel"
