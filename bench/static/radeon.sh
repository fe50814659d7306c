#!/bin/sh
# radeon.sh FAMILY COMMAND…: runs a command on a Radeon that is not there.
#
# Mesa's drm-shim answers in the kernel's place: RADV compiles, records and submits as it would for
# that family, and nothing is computed. On standard error RADV then prints the assembly and the
# statistics of every pipeline, and count_layer.c a line per submit. Needs what install.sh installs.
set -eu

family=$1
shift
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
sh "$here/install.sh" check
build=$here/../../.deno/static
mkdir -p "$build"

# Renamed into place when complete, as tests may do this at the same time.
compile() {
  [ "$build/$1.so" -nt "$here/$1.c" ] && return
  cc -O1 -Wall -Wextra -Werror -shared -fPIC -o "$build/$1.$$" "$here/$1.c" -ldl
  mv "$build/$1.$$" "$build/$1.so"
}

compile count_layer
cp "$here/count_layer.json" "$build/"
for shim in /usr/lib/*/libamdgpu_noop_drm_shim.so; do :; done
case $family in
  vega20) # which the shim does not know: its nearest kin by another name
    compile vega20
    AMDGPU_GPU_ID=vega10
    LD_PRELOAD="$build/vega20.so $shim"
    ;;
  *)
    AMDGPU_GPU_ID=$family
    LD_PRELOAD=$shim
    ;;
esac
export AMDGPU_GPU_ID LD_PRELOAD
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/radeon_icd.json DENO_WEBGPU_BACKEND=vulkan
export VK_LAYER_PATH="$build" VK_INSTANCE_LAYERS=VK_LAYER_PRODA_count
export RADV_DEBUG=asm,shaderstats,nocache
exec "$@"
