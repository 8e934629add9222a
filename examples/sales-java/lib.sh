#!/bin/sh
# Puts the jar of Debian's libcommons-csv-java into lib/, without installing the package.
set -eu
cd "$(dirname "$0")"
mkdir -p lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" download libcommons-csv-java >/dev/null)
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work" ./usr/share/java
cp -L "$work/usr/share/java/commons-csv.jar" lib/
