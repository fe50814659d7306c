#!/bin/sh
# Prints where SwiftShader is, a Vulkan driver in software that shares nothing with Mesa's: the path of its
# vk_swiftshader_icd.json. Chromium and Chrome bring it along; where neither is installed, it is taken
# out of Debian's package and kept in .deno/.
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

driver || { fetch && driver; } || {
  echo "Cannot test on SwiftShader as it was not found: install Chromium or Chrome, which hold it," \
    "or name its vk_swiftshader_icd.json in VK_DRIVER_FILES and run ./run test tests/kernels." >&2
  exit 2
}
