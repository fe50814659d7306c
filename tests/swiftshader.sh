#!/bin/sh
# Runs the tests of kernels and networks on SwiftShader, a Vulkan driver in software that shares nothing
# with Mesa's: `./run test:swiftshader`.
set -eu
cd -- "$(dirname -- "$0")/.."

VK_DRIVER_FILES=$(sh tests/swiftshader_driver.sh)
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
