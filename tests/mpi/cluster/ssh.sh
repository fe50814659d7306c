#!/bin/sh
# `machines.sh ssh` for launchers that take the name of a program and no arguments.
exec "$(dirname "$0")/machines.sh" ssh "$@"
