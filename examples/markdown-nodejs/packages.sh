# Puts Debian's marked beside the function, where Node.js looks for it.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download node-marked && dpkg-deb -x node-marked_*.deb .)
rm -rf node_modules
mkdir node_modules
cp -r "$work/usr/share/nodejs/marked" node_modules/
