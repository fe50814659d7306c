#!/bin/sh
# What tests over MPI need beside Deno: Open MPI and MPICH, both, as their binary interfaces differ. As root
# on Debian they are installed; elsewhere they are named.
set -eu

has_all() {
  command -v mpirun.openmpi >/dev/null 2>&1 && command -v mpirun.mpich >/dev/null 2>&1
}

if has_all; then exit; fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Open MPI and MPICH …" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet --quiet >&2 || : # another source may be down
  apt-get install --yes --no-install-recommends --quiet --quiet openmpi-bin mpich >&2 || :
  if has_all; then exit; fi
fi
echo "Cannot test over MPI as mpirun.openmpi or mpirun.mpich is missing: install both (on Debian, as" \
  "root: apt-get install openmpi-bin mpich)." >&2
exit 2
