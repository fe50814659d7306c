// The closing line of `deno task test`, on test files made for it.

import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url);

async function runTests(
  source: string,
  ...args: string[]
): Promise<{ code: number; last: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "sample_test.ts");
    await Deno.writeTextFile(path, source);
    const { code, stdout } = await new Deno.Command("deno", {
      args: [
        "run",
        "--allow-run=deno",
        "--allow-env=DENO_WEBGPU_BACKEND",
        "tests/_run.ts",
        path,
        ...args,
      ],
      cwd: ROOT,
      stderr: "null",
    }).output();
    return { code, last: new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1) ?? "" };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("passed tests are counted, steps are not", async () => {
  const outcome = await runTests(`
    Deno.test("a", () => {});
    Deno.test("b", async (t) => { await t.step("c", () => {}); });
  `);
  assert.deepEqual(outcome, { code: 0, last: "2 passed, 0 failed" });
});

Deno.test("a failed test fails the run, and a skipped one is named", async () => {
  const outcome = await runTests(`
    Deno.test("a", () => {});
    Deno.test("b", () => { throw new Error("no"); });
    Deno.test.ignore("c", () => {});
  `);
  assert.deepEqual(outcome, { code: 1, last: "1 passed, 1 failed, 1 skipped" });
});

Deno.test("a file that does not compile counts as a failure", async () => {
  const outcome = await runTests(`Deno.test("a", () => {}`);
  assert.deepEqual(outcome, { code: 1, last: "0 passed, 1 failed" });
});

Deno.test("a run without a test has failed", async () => {
  const outcome = await runTests(`Deno.test("a", () => {});`, "--filter", "nothing");
  assert.deepEqual(outcome, { code: 1, last: "0 passed, 1 failed" });
});

Deno.test("text that looks like a closing line is not counted", async () => {
  const outcome = await runTests(`
    Deno.test("a", () => console.log("ok | 99 passed | 0 failed (1ms)"));
    Deno.test("b", () => { throw new Error("no"); });
  `);
  assert.deepEqual(outcome, { code: 1, last: "1 passed, 1 failed" });
});
