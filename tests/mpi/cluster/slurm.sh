#!/bin/sh
# Slurm on this machine alone: its daemons and jobs run in a network namespace, with a configuration, keys
# and a state of their own. As root on Linux.
#
#   slurm.sh up NAME FOLDER    starts munged, slurmctld and slurmd, one node of two processors and two GPUs
#                              that are none; FOLDER holds all they write
#   slurm.sh in NAME FOLDER COMMAND …   runs sbatch, squeue and so on where they are
#   slurm.sh down NAME FOLDER  ends them and all jobs; the folder stays
set -eu

# Where Debian has daemons, which the path of a plain shell lacks.
PATH=$PATH:/usr/sbin

what=$1
name=$2
folder=$3
shift 3

inside() {
  # Not by `ip netns exec`, which would hide the control groups that slurmd looks for.
  # shellcheck disable=SC2016 # for the inner shell
  SLURM_CONF=$folder/slurm.conf nsenter --net="/run/netns/$name" unshare --uts --mount \
    sh -c 'mount --bind "$1/hosts" /etc/hosts && hostname "$0" && shift && exec "$@"' \
    "$name" "$folder" "$@"
}

# shellcheck source=tests/mpi/cluster/end_all.sh
. "$(dirname "$0")/end_all.sh"

up() {
  mkdir -p "$folder/state" "$folder/spool"
  printf '127.0.0.1 localhost\n10.84.0.1 %s\n' "$name" >"$folder/hosts"
  dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 status=none
  chmod 600 "$folder/munge.key"
  cat >"$folder/slurm.conf" <<END
ClusterName=$name
SlurmctldHost=$name
AuthType=auth/munge
# A job that is queued again starts when the permits of its last start have expired.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName=$name CPUs=$(nproc) Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP
END
  printf 'Name=gpu File=%s\n' /dev/null /dev/zero >"$folder/gres.conf"
  trap 'end_all "$name"; ip netns delete "$name" 2>/dev/null || :' EXIT
  ip netns add "$name"
  ip -netns "$name" link set lo up
  # Daemons find no address to listen on where there is none but the loopback's.
  ip -netns "$name" address add 10.84.0.1/32 dev lo
  inside munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
  inside slurmctld
  inside slurmd
  for _ in $(seq 100); do
    if inside timeout 2 sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
      trap - EXIT
      return
    fi
    sleep 0.1
  done
  echo "Cannot start Slurm as its node is not idle after 10 s: see the logs" >&2
  tail -n 20 "$folder"/*.log >&2
  exit 1
}

case $what in
  up) up ;;
  in) inside "$@" ;;
  down)
    end_all "$name"
    ip netns delete "$name" 2>/dev/null || :
    ;;
  *)
    echo "Cannot do $what: expected up, in or down; see the head of $0" >&2
    exit 2
    ;;
esac
