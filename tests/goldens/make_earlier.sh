#!/usr/bin/env bash
# Makes earlier/run, a run folder as commit 287d48d left it, stopped in the middle of stage 1, and
# earlier/rest.jsonl, the records of that run had it gone on, for the test that what was written before is
# read as before. Needs that commit; run it from the repository's root.
set -euo pipefail
goldens=$PWD/tests/goldens/earlier
work=$(mktemp -d)
git worktree add --detach "$work/code" 287d48d
rm -rf "$goldens/run"
cd "$work"
train() {
  DENO_WEBGPU_BACKEND=vulkan deno run --config code/deno.json --allow-read --allow-write \
    code/cli/main.ts train --config "$goldens/config.json" --out "$1"
}
train whole
train run &
training=$!
until grep -q '"stage":"stage1","step":20' run/metrics.jsonl 2>/dev/null; do sleep 0.02; done
kill -USR2 "$training"
wait "$training" || true
rm -r run/samples/*
mv run "$goldens/run"
tail -n "+$(($(wc -l <"$goldens/run/metrics.jsonl") + 1))" whole/metrics.jsonl >"$goldens/rest.jsonl"
cd "$goldens"
git worktree remove --force "$work/code"
