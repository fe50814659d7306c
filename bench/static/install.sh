#!/bin/sh
# What `deno task gpu:static` needs beside Deno: Mesa's Vulkan drivers, the shim that stands in for
# a Radeon, a C compiler and Vulkan's headers. As root on Debian they are installed; elsewhere, and
# with the argument `check`, they are named. When all is there this costs a few milliseconds.
set -eu

has_all() {
  for file in /usr/lib/*/libamdgpu_noop_drm_shim.so; do
    [ -f "$file" ] && [ -f /usr/share/vulkan/icd.d/radeon_icd.json ] &&
      [ -f /usr/include/vulkan/vk_layer.h ] && [ -f /usr/include/dlfcn.h ] &&
      command -v cc >/dev/null 2>&1 && return
  done
  return 1
}

if has_all; then exit; fi
if [ "${1:-}" != check ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing a Radeon that is not there (mesa-drm-shim), and a C compiler …" >&2
  export DEBIAN_FRONTEND=noninteractive
  # The shim must be of the drivers' own version, wherever they came from.
  version=$(dpkg-query --show --showformat '${Version}' mesa-vulkan-drivers 2>/dev/null) || version=
  apt-get update --quiet --quiet >&2 || : # another source may be down
  apt-get install --yes --no-install-recommends --quiet --quiet \
    mesa-vulkan-drivers${version:+"=$version"} mesa-drm-shim${version:+"=$version"} \
    gcc libc6-dev libvulkan-dev >&2 || :
  if has_all; then exit; fi
fi
echo "Cannot measure kernels without a GPU as Mesa's RADV or its drm-shim, a C compiler or" \
  "Vulkan's headers are missing: install them (on Debian, as root: apt-get install mesa-vulkan-drivers" \
  "mesa-drm-shim gcc libc6-dev libvulkan-dev)." >&2
exit 2
