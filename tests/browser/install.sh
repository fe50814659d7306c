#!/bin/sh
# What tests in a browser need beside Deno: Chromium, which holds a software adapter, and Node. As root on
# Debian they are installed; elsewhere they are named. Packages of npm go into node_modules/ beside this.
set -eu
cd -- "$(dirname -- "$0")"

has_all() {
  { command -v chromium || command -v google-chrome; } >/dev/null 2>&1 &&
    command -v node >/dev/null 2>&1
}

if ! has_all && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Chromium …" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet --quiet >&2 || : # another source may be down
  node=$(command -v node >/dev/null 2>&1 || echo nodejs)
  # shellcheck disable=SC2086 # nothing, or one word
  apt-get install --yes --no-install-recommends --quiet --quiet chromium $node >&2 || :
fi
if ! has_all; then
  echo "Cannot test in a browser as Chromium or Node is missing: install both (on Debian, as root:" \
    "apt-get install chromium nodejs)." >&2
  exit 2
fi
deno install --quiet
