# Run inside the new root file system when it is built.
set -eu
cd /usr/lib/snapfaas

# The compiler is not for the image.
tcc -shared -nostdlib -o native.node native.c
rm -rf native.c /usr/bin/tcc /usr/bin/i386-tcc /usr/lib/x86_64-linux-gnu/tcc

# Found from /var/task by require and by import: the latter looks into node_modules folders alone.
mkdir -p /var/node_modules
ln -s /usr/lib/snapfaas/snapstart /var/node_modules/snapstart

# Debian's Node.js reads some of its own modules from files, at every start, and keeps five bytes of memory for each of
# theirs: 4 MB. The two large ones (fetch(), and what assert() says of a failure) are left until they are needed.
leave_for_later() {
	mv "$1/$2.js" "$1/$2.whole.js"
	echo "module.exports = require('module').createRequire('$1/')('./$2.whole.js');" >"$1/$2.js"
}
leave_for_later /usr/share/nodejs/undici undici-fetch
leave_for_later /usr/share/nodejs/acorn/dist acorn
/usr/bin/node -e "new Headers(); require('/usr/share/nodejs/acorn/dist/acorn.js').parse('1')"

# Types, for who writes programs.
rm -rf /usr/share/nodejs/@types /usr/share/nodejs/undici-types
