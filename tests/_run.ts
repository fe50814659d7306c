/**
 * Runs `deno test` over the project and closes with one plain line that any reader of logs
 * understands: `N passed, N failed, N skipped`. The exit status is `deno test`'s own, and a run
 * without a single test has failed.
 *
 * Arguments go to `deno test`: `deno task test tests/nn --filter relu`.
 */

/** Matches `ok | 5 passed (2 steps) | 0 failed | 1 ignored (29ms)`. */
const CLOSING_LINE = /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed/;
const SKIPPED = / \| (\d+) ignored/;
/** The driver each system's WebGPU must use; unset, Deno may fall back to OpenGL without a word. */
const BACKENDS: Partial<Record<typeof Deno.build.os, string>> = {
  darwin: "metal",
  linux: "vulkan",
  windows: "dx12",
};

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Copies the child's output to ours line by line and picks the counts out of the closing line. */
async function relay(output: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Counts | null> {
  let counts: Counts | null = null;
  let partial = "";
  const read = (line: string): void => {
    // deno-lint-ignore no-control-regex
    const plain = line.replace(/\x1b\[[0-9;]*m/g, "");
    const closing = CLOSING_LINE.exec(plain);
    if (closing === null) return;
    const skipped = SKIPPED.exec(plain);
    counts = {
      passed: Number(closing[1]),
      failed: Number(closing[2]),
      skipped: skipped === null ? 0 : Number(skipped[1]),
    };
  };
  const decoder = new TextDecoder();
  for await (const chunk of output) {
    // Passed on at once, complete line or not: a test's name must show while the test runs.
    for (let written = 0; written < chunk.length;) {
      written += await Deno.stdout.write(chunk.subarray(written));
    }
    const lines = (partial + decoder.decode(chunk, { stream: true })).split("\n");
    partial = lines.pop() ?? "";
    lines.forEach(read);
  }
  read(partial);
  return counts;
}

const environment: Record<string, string> = {};
const backend = BACKENDS[Deno.build.os];
if (backend !== undefined && !Deno.env.get("DENO_WEBGPU_BACKEND")) {
  environment.DENO_WEBGPU_BACKEND = backend;
}
// The child writes to a pipe, so it is told whether a person will see its colours.
environment[Deno.stdout.isTerminal() && !Deno.noColor ? "FORCE_COLOR" : "NO_COLOR"] = "1";

const named = Deno.args.some((argument) => !argument.startsWith("-"));
const child = new Deno.Command("deno", {
  args: [
    "test",
    "--no-check", // `deno task check` has its own turn
    "--allow-read",
    "--allow-write",
    "--allow-run=deno,/bin/sh",
    "--allow-env=DENO_WEBGPU_BACKEND",
    ...Deno.args,
    ...(named ? [] : ["--doc"]), // examples in documents and comments run too
  ],
  env: environment,
  stdout: "piped",
}).spawn();
const [counts, status] = await Promise.all([relay(child.stdout), child.status]);

const ran = counts !== null && counts.passed + counts.failed > 0;
const exitCode = status.code !== 0 ? status.code : ran ? 0 : 1;
// A failure that no test stands for (a type error, a crash, no test at all) still counts as one.
const passed = counts?.passed ?? 0;
const failed = exitCode !== 0 ? Math.max(1, counts?.failed ?? 0) : 0;
const skipped = counts !== null && counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`\n${passed} passed, ${failed} failed${skipped}`);
Deno.exit(exitCode);
