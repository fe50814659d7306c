#!/bin/sh
# Prints the GPUs that this process may open, one a line by PCI address: `0000:65:00.0 10de:2330`. Deno
# shows no program what the system knows of them unless it may do everything, so that ./run hands it on.
# The argument is the root of the system, for tests.
set -eu
root=${1:-}

# Whether a node can be opened: schedulers hide GPUs by permissions that only an attempt shows.
opens() {
  (: <"$1") 2>/dev/null
}

describe() { # the address
  device=$root/sys/bus/pci/devices/$1
  [ -r "$device/vendor" ] && [ -r "$device/device" ] || return 0
  read -r vendor <"$device/vendor"
  read -r kind <"$device/device"
  printf '%s %s:%s\n' "$1" "${vendor#0x}" "${kind#0x}"
}

{
  # Those of NVIDIA have nodes of their own, which alone tell whether their driver may use them.
  for gpu in "$root"/proc/driver/nvidia/gpus/*; do
    [ -r "$gpu/information" ] || continue
    minor=$(sed -n 's/^Device Minor:[^0-9]*//p' "$gpu/information")
    if [ -n "$minor" ] && opens "$root/dev/nvidia$minor"; then describe "${gpu##*/}"; fi
  done
  for node in "$root"/sys/class/drm/renderD*; do
    [ -e "$node/device" ] || continue
    address=$(basename "$(readlink -f "$node/device")")
    [ -d "$root/proc/driver/nvidia/gpus/$address" ] && continue
    if opens "$root/dev/dri/${node##*/}"; then describe "$address"; fi
  done
} | sort -u
