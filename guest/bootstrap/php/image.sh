# Run inside the new root file system when it is built.
set -eu
mv /usr/lib/snapfaas/php.ini /etc/php/8.2/cli/conf.d/90-snapfaas.ini
