# The last step of a runtimefs: runs outside the new root "$1", as its root user, after all packages are installed and
# our files are in place. POSIX shell.
set -eu
root=$1

# OpenRC: only our service, which needs no other. /init of the initramfs has made the mounts.
find "$root/etc/runlevels" "$root/etc/init.d" "$root/etc/conf.d" -mindepth 1 -not -type d -delete 2>/dev/null || true
mkdir -p "$root/etc/runlevels/sysinit" "$root/etc/runlevels/boot" "$root/etc/runlevels/default" \
	"$root/etc/runlevels/shutdown"
install -m 0755 "$root/usr/lib/snapfaas/openrc/snapfaas" "$root/etc/init.d/snapfaas"
ln -s /etc/init.d/snapfaas "$root/etc/runlevels/default/snapfaas"
install -m 0644 "$root/usr/lib/snapfaas/openrc/rc.conf" "$root/etc/rc.conf"
install -m 0755 "$root/usr/lib/snapfaas/openrc/init.sh" "$root/usr/lib/snapfaas/openrc/init-early.sh" \
	"$root/usr/lib/rc/sh/"
rm -rf "$root/usr/lib/snapfaas/openrc"

# The function's folder, under its two names.
mkdir -p "$root/var/task" "$root/var/tmp"
# The dynamic linker looks for libraries there, too, and looks no more where it has once found no folder.
mkdir -p "$root/var/task/lib" "$root/var/task/package/usr/lib/x86_64-linux-gnu"
rm -rf "$root/srv"
ln -s var/task "$root/srv"

# The root file system is read only: what programs want to write lies in /run and /tmp.
rm -rf "$root/var/run" "$root/var/lock"
ln -s ../run "$root/var/run"
ln -s ../run/lock "$root/var/lock"
ln -sf ../proc/self/mounts "$root/etc/mtab"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
echo snapfaas >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"

# What nobody reads in a microVM.
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/info" "$root/usr/share/locale" \
	"$root/usr/share/lintian" "$root/usr/share/bash-completion" "$root/usr/share/zsh" "$root/usr/share/bug" \
	"$root/usr/share/pixmaps" "$root/usr/share/applications" "$root/usr/share/menu" \
	"$root/boot" "$root/media"

# Every image gets all of perl, since usrmerge, which is essential, needs it when it is installed. It goes (perl-base
# stays) unless a package that the recipe has brought in depends on it.
if ! dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${Package}: ${Pre-Depends}, ${Depends},\n' |
	grep -Ev '^(usrmerge|libfile-find-rule-perl|libnumber-compare-perl|libtext-glob-perl|perl):' |
	grep -Eq '[ |]perl(:any|api-[0-9.]+)?( \([^)]*\))?( \||,)'; then
	rm -rf "$root/usr/share/perl" "$root/usr/share/perl5" "$root/usr/lib/x86_64-linux-gnu/perl" \
		"$root"/usr/lib/x86_64-linux-gnu/libperl.so.*
fi

# What the language itself has to do inside the new root.
if [ -f "$root/usr/lib/snapfaas/image.sh" ]; then
	chroot "$root" /bin/sh /usr/lib/snapfaas/image.sh
	rm "$root/usr/lib/snapfaas/image.sh"
fi

# Backups that package scripts leave, and what belongs to the machine that built the image. /dev, /proc, /run, /sys and
# /tmp may be mounted now: the image leaves their contents out.
rm -f "$root/etc/resolv.conf" "$root"/etc/*-
