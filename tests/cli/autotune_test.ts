// The file of `--autotune`.

import assert from "node:assert/strict";
import { loadChoices, saveChoices } from "../../cli/autotune.ts";
import { openGpu } from "../../kernels/runtime/mod.ts";

async function withFile(use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("autotune keeps the choices of each adapter in one file", () =>
  withFile(async (path) => {
    await Deno.writeTextFile(
      path,
      JSON.stringify({ version: 1, adapters: { "another GPU": { "matmul 1": "128×128" } } }),
    );
    using first = await openGpu();
    loadChoices(first, path);
    assert.deepEqual(first.choices.table, {}, "choices of another adapter are not used");
    first.choices.add({ "matmul 2": "64×64" });
    saveChoices(first, path);
    using second = await openGpu();
    loadChoices(second, path);
    assert.deepEqual(second.choices.table, { "matmul 2": "64×64" });
    const { adapters } = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual(adapters["another GPU"], { "matmul 1": "128×128" });
  }));

Deno.test("autotune measures afresh where there is no file, or one of another version", () =>
  withFile(async (path) => {
    using gpu = await openGpu();
    loadChoices(gpu, `${path}.absent`);
    const adapters = { [gpu.adapter.description]: { "matmul 1": "64×64" } };
    await Deno.writeTextFile(path, JSON.stringify({ version: 0, adapters }));
    loadChoices(gpu, path);
    assert.deepEqual(gpu.choices.table, {});
  }));

Deno.test("autotune refuses a file that it has not written, by name", () =>
  withFile(async (path) => {
    using gpu = await openGpu();
    for (
      const [content, reason] of [["{", "it is not JSON"], [
        "[1]",
        "it holds something else",
      ]] as const
    ) {
      await Deno.writeTextFile(path, content);
      assert.throws(() => loadChoices(gpu, path), {
        name: "DataError",
        message: `Cannot use autotune file ${path} as ${reason}: expected what --autotune has ` +
          "written; delete it to measure afresh, or give another path",
      });
    }
  }));
