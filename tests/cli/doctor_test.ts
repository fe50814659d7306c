import assert from "node:assert/strict";
import type { Diagnosis } from "../../cli/diagnosis.ts";
import { runProgram } from "./_program.ts";

Deno.test("doctor finds an adapter that computes, and says so", async () => {
  const { code, stdout, stderr } = await runProgram("doctor");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^adapter +\S/m);
  assert.match(stdout, /^arithmetic +right$/m);
  assert.match(stdout, /\nReady.*\nNext: \.\/run train --preset quick {3}.*\n$/);
});

Deno.test("doctor --json is one object with the verdict", async () => {
  const { code, stdout } = await runProgram("doctor", "--json");
  const diagnosis: Diagnosis = JSON.parse(stdout);
  assert.equal(code, 0);
  assert.equal(diagnosis.ready, true);
  assert.equal(diagnosis.computes, true);
  assert.equal(diagnosis.next[0], "./run train --preset quick");
  assert.equal(diagnosis.deno, Deno.version.deno);
  assert.ok(diagnosis.limits.maxBufferSize >= 2 ** 28);
});
