#!/bin/sh
# usage: make_functions.sh FOLDER: writes the contract's main function of each runtime to FOLDER/<runtime>, as it would
# be deployed: a compiled one is compiled. For `snapfaas bench restore --all-runtimes --app 'FOLDER/{runtime}'`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for main in "$here"/*/main; do
  made=$1/$(basename "$(dirname "$main")")
  rm -rf "$made"
  mkdir -p "$made"
  if [ -e "$main/build.sh" ]; then sh "$main/build.sh" "$made"; else cp -R "$main/." "$made/"; fi
done
