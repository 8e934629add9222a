#!/bin/sh
# usage: build.sh FIXTURE FOLDER: compiles a fixture's main.cc to FOLDER/bootstrap.
set -eu
here=$(dirname "$0")
mkdir -p "$2"
${CXX:-g++} -std=c++20 -O1 -Wall -Wextra -I "$here/../../../examples/hello-cpp" -o "$2/bootstrap" "$here/$1/main.cc" -s
