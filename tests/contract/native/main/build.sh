#!/bin/sh
# usage: build.sh FOLDER: makes the function that this fixture is, in FOLDER.
exec "$(dirname "$0")/../build.sh" main "$1"
