# Puts Debian's Twig beside the function, in the folder package/, which is on PHP's include path.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download php-twig && dpkg-deb -x php-twig_*.deb .)
rm -rf package
mkdir package
cp -r "$work/usr/share/php/Twig" package/
