# Ends all that runs in a network namespace; to be read by the scripts beside it.

end_all() {
  # Repeated, as what is ended may just have started something.
  for _ in 1 2 3 4 5; do
    pids=$(ip netns pids "$1" 2>/dev/null) || return 0
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086 # a list of numbers
    kill -KILL $pids 2>/dev/null || :
    sleep 0.1
  done
}
