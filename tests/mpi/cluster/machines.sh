#!/bin/sh
# Two network namespaces as two machines with a cable between them: each has addresses, a table of hosts
# and a host name of its own, and nothing else in common but the files. As root on Linux.
#
#   machines.sh up NAME             makes NAMEa (10.83.0.1) and NAMEb (10.83.0.2)
#   machines.sh link NAME up|down   plugs the cable in, or pulls it out
#   machines.sh on HOST COMMAND …   runs a command on one of them, with this shell's environment
#   machines.sh ssh HOST WORDS …    the same as ssh does: by a shell, with hardly any environment
#   machines.sh ranks HOST          prints the numbers of the processes there that train
#   machines.sh signal HOST SIGNAL  sends them a signal
#   machines.sh processes NAME      prints all that runs on both
#   machines.sh sweep NAME          ends all that runs on both
#   machines.sh down NAME           ends all that runs on them, and removes them
set -eu

# shellcheck source=tests/mpi/cluster/end_all.sh
. "$(dirname "$0")/end_all.sh"

ranks() {
  for pid in $(ip netns pids "$1"); do
    case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
      *deno\ *cli/main.ts\ *) echo "$pid" ;;
    esac
  done
}

# The kernel takes up to a second to say that a cable is in; some libraries look once and give up.
until_plugged_in() {
  for host in "${name}a" "${name}b"; do
    until ip -netns "$host" -brief link show eth0 | grep -q ' UP '; do sleep 0.05; done
  done
}

on() {
  host=$1
  shift
  # shellcheck disable=SC2016 # for the inner shell
  exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$host" "$@"
}

what=$1
name=$2
case $what in
  up)
    trap 'sh "$0" down "$name"' EXIT
    ip netns add "${name}a"
    ip netns add "${name}b"
    ip link add eth0 netns "${name}a" type veth peer name eth0 netns "${name}b"
    at=0
    for host in "${name}a" "${name}b"; do
      at=$((at + 1))
      mkdir -p "/etc/netns/$host"
      printf '127.0.0.1 localhost\n10.83.0.1 %sa\n10.83.0.2 %sb\n' "$name" "$name" \
        >"/etc/netns/$host/hosts"
      ip -netns "$host" address add "10.83.0.$at/24" dev eth0
      ip -netns "$host" link set lo up
      ip -netns "$host" link set eth0 up
    done
    until_plugged_in
    trap - EXIT
    ;;
  link)
    # At one end, as a cable is pulled out of one machine; the other end loses its carrier.
    ip -netns "${name}b" link set eth0 "$3"
    [ "$3" = down ] || until_plugged_in
    ;;
  on)
    shift
    on "$@"
    ;;
  ssh)
    shift 2
    on "$name" env -i HOME="${HOME:-/root}" PATH=/usr/local/bin:/usr/bin:/bin sh -c "$*"
    ;;
  ranks)
    ranks "$name"
    ;;
  signal)
    # shellcheck disable=SC2046 # a list of numbers
    kill -s "$3" $(ranks "$name")
    ;;
  processes)
    for host in "${name}a" "${name}b"; do
      for pid in $(ip netns pids "$host"); do
        command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || continue
        [ -z "$command" ] || echo "$host $pid $command" # it has ended otherwise
      done
    done
    ;;
  sweep)
    end_all "${name}a"
    end_all "${name}b"
    ;;
  down)
    for host in "${name}a" "${name}b"; do
      end_all "$host"
      ip netns delete "$host" 2>/dev/null || :
      rm -rf "/etc/netns/$host/hosts" "${TMPDIR:-/tmp}/ompi.$host".* # Open MPI's, where it was killed
      rmdir "/etc/netns/$host" 2>/dev/null || :
    done
    rmdir /etc/netns 2>/dev/null || :
    ;;
  *)
    echo "Cannot do $what: expected what is listed at the head of $0" >&2
    exit 2
    ;;
esac
