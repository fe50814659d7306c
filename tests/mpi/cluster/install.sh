#!/bin/sh
# What the tests of clusters need: root on Linux, as they make network namespaces, and Debian's Open MPI,
# MPICH and Slurm, which are installed. Elsewhere they are refused in a sentence.
set -eu

refuse() {
  echo "Cannot test clusters as $1: expected root on Debian, as network namespaces stand for machines;" \
    "use a virtual machine or a container with --privileged" >&2
  exit 2
}

[ "$(uname -s)" = Linux ] || refuse "this is $(uname -s)"
unshare --net --uts --mount true 2>/dev/null || refuse "this is no root that may make namespaces"
PATH=$PATH:/usr/sbin # where a plain shell does not look for daemons

has_all() {
  for name in ip nsenter mpirun.openmpi mpirun.mpich srun slurmctld slurmd munged; do
    command -v "$name" >/dev/null 2>&1 || return 1
  done
  # Slurm asks for it by this name, which only the package for developers has.
  [ -n "$(find /usr/lib -name libpmix.so -print -quit)" ]
}

if has_all; then exit; fi
command -v apt-get >/dev/null 2>&1 || refuse "there is no apt-get, and some of Open MPI, MPICH and Slurm is missing"
echo "Installing Open MPI, MPICH and Slurm …" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet >&2 || : # another source may be down
apt-get install --yes --no-install-recommends --quiet --quiet iproute2 openmpi-bin mpich \
  slurmctld slurmd slurm-client munge libpmix-dev >&2 || :
has_all || refuse "apt-get has not installed all of Open MPI, MPICH and Slurm"
