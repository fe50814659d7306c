// Puts Dawn, the WebGPU of Chromium, in the place of Deno's own: `deno task test:dawn`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Tests that end the process on Dawn, and why. */
const CRASHES = new Map([
  [
    "80,000 different bind groups do not end the process",
    "Dawn for Node frees collected bind groups when the event loop turns, and the test makes all in " +
    "one turn; on lavapipe each is a memory mapping, of which a process may have 65,530",
  ],
]);

const { create, globals } = createRequire(import.meta.url)("webgpu") as {
  create(options: readonly string[]): GPU;
  globals: Record<string, unknown>;
};
Object.assign(globalThis, globals);
// Dawn asks again and again whether the GPU is done, by setImmediate() with a function made for each
// time; Deno frees many such functions in time that grows with their square.
Object.assign(globalThis, {
  setImmediate: (ask: () => void) => setTimeout(ask, 1),
});
Object.defineProperty(navigator, "gpu", {
  value: create([]),
  configurable: true,
});

/** What `Deno.args` of a process says that is to crash. */
const HERE = "--known-too";

/** Runs a test alone in a process that it should end. */
async function crash(name: string, reason: string): Promise<void> {
  const { code, signal, success } = await new Deno.Command("deno", {
    args: [
      "test",
      "--no-check",
      "--allow-read",
      "--allow-ffi",
      "--allow-env=DENO_WEBGPU_BACKEND",
      `--preload=${import.meta.filename}`,
      `--filter=${name}`,
      fileURLToPath(Deno.mainModule),
      "--",
      HERE,
    ],
    stdout: "null",
    stderr: "null",
  }).output();
  assert.ok(
    !success,
    `"${name}" passes on Dawn now: take it off the list in ${import.meta.filename}`,
  );
  assert.ok(
    signal !== null,
    `"${name}" fails on Dawn with status ${code}, and crashed before`,
  );
  console.log(`known: "${name}" ends in ${signal}: ${reason}`);
}

const { test } = Deno;

/** Registers a test, unless it crashes: then one that it does. */
function register(...args: unknown[]): void {
  const [first] = args;
  const name = typeof first === "string" ? first : (first as Deno.TestDefinition).name;
  const reason = CRASHES.get(name);
  if (reason === undefined) Reflect.apply(test, Deno, args);
  else test(`known crash of Dawn: ${name}`, () => crash(name, reason));
}

if (!Deno.args.includes(HERE)) {
  Object.assign(Deno, { test: Object.assign(register, test) });
}
