#!/bin/sh
# Runs the tests of kernels and networks on SwiftShader, a Vulkan driver in software that shares nothing
# with Mesa's: `./run test:swiftshader`. Chromium and Chrome bring it along; where neither is installed,
# it is taken out of Debian's package and kept in .deno/.
set -eu
cd -- "$(dirname -- "$0")/.."

package=chromium-common
kept=$PWD/.deno/swiftshader

driver() {
  for folder in "$kept/usr/lib/chromium" /usr/lib/chromium /usr/lib/chromium-browser \
    /usr/lib64/chromium-browser /opt/google/chrome; do
    if [ -f "$folder/vk_swiftshader_icd.json" ] && [ -f "$folder/libvk_swiftshader.so" ]; then
      printf '%s\n' "$folder/vk_swiftshader_icd.json"
      return
    fi
  done
  return 1
}

# The two files alone, as the package depends on much that a driver does not need.
fetch() {
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
  echo "Getting SwiftShader out of Debian's $package …" >&2
  (
    partial=$(mktemp -d)
    trap 'rm -rf "$partial"' EXIT
    cd -- "$partial"
    apt="apt-get --quiet --quiet --option APT::Sandbox::User=root"
    $apt download $package >&2 || { $apt update >&2 && $apt download $package >&2; }
    dpkg-deb --extract ./*.deb all
    mkdir -p "$kept/usr/lib/chromium"
    mv all/usr/lib/chromium/*swiftshader* "$kept/usr/lib/chromium/"
  )
}

if ! VK_DRIVER_FILES=$(driver) && ! { fetch && VK_DRIVER_FILES=$(driver); }; then
  echo "Cannot test on SwiftShader as it was not found: install Chromium or Chrome, which hold it," \
    "or name its vk_swiftshader_icd.json in VK_DRIVER_FILES and run ./run test tests/kernels." >&2
  exit 2
fi
export VK_DRIVER_FILES
unset VK_ICD_FILENAMES VK_ADD_DRIVER_FILES

if ! deno task --quiet doctor --json | grep -q SwiftShader; then
  echo "Cannot test on SwiftShader as $VK_DRIVER_FILES gives another adapter or none: see ./run doctor" >&2
  exit 2
fi
# Not the goldens: their twenty steps of whole networks take ten minutes there.
networks=$(find tests/nn -maxdepth 1 -name '*_test.ts' ! -name golden_test.ts)
# shellcheck disable=SC2086 # a list of words
exec deno task --quiet test --preload tests/_as_gpu.ts tests/kernels $networks "$@"
