// Jobs of two ranks over Open MPI and over MPICH, whose binary interfaces differ, against one rank. Run by
// `deno task test:mpi`.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { findLibrary } from "../../train/parallel/library.ts";
import { type Engine, ENGINES, MPICH } from "./_engines.ts";

const RANK = fileURLToPath(new URL("rank.ts", import.meta.url));
interface Seen {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly engine: string;
  readonly reduced: unknown;
  readonly losses: readonly number[];
  readonly weights: readonly number[];
  /** Milliseconds, all in all and of what. */
  readonly took: number;
  readonly hostTimes: { readonly gpu: number; readonly copy: number };
  readonly times: { readonly reduce: number; readonly wait: number };
}

/** Runs ranks that may load that library and nothing else. */
async function run(engine: Engine, ranks: number, ...args: readonly string[]) {
  const { library } = engine;
  const permissions = [`--allow-ffi=${library}`, `--allow-read=${library}`];
  const rank = ["deno", "run", "--no-prompt", "--no-check", ...permissions, RANK, library, ...args];
  const { code, stdout, stderr } = await new Deno.Command(engine.launcher, {
    args: [...engine.flags, "-n", `${ranks}`, ...rank],
  }).output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, text, errors };
}

async function seenBy(engine: Engine, ranks: number, ...args: string[]): Promise<Seen[]> {
  const { code, text, errors } = await run(engine, ranks, ...args);
  assert.equal(code, 0, errors);
  const seen = text.trim().split("\n").filter((line) => line.startsWith("{"))
    .map((line): Seen => JSON.parse(line));
  return seen.sort((a, b) => a.rank - b.rank);
}

function assertNear(found: number, expected = NaN, tolerance: number): void {
  assert.ok(Math.abs(found / expected - 1) < tolerance, `${found}, not ${expected}`);
}

for (const engine of ENGINES) {
  Deno.test(`two ranks over ${engine.launcher} train as one does`, async () => {
    const [alone] = await seenBy(engine, 1);
    const seen = await seenBy(engine, 2);
    assert.deepEqual(seen.map(({ rank, size, localRank }) => [rank, size, localRank]), [
      [0, 2, 0],
      [1, 2, 1],
    ]);
    for (const { engine: version, reduced, losses, weights } of seen) {
      assert.match(version, engine.version);
      assert.deepEqual(reduced, {
        long: [1, 1 + 2 * (2_500_000 % 7), 1 + 2 * (4_999_999 % 7)],
        most: [1, 1 / 3],
        least: [5, -1],
        bytes: [1, 7, 1],
        halves: ["1", "13", "NaN", "Infinity", "8.00006091594696e-7"],
      });
      assert.deepEqual(losses, seen[0]?.losses);
      assert.deepEqual(weights, seen[0]?.weights, "the same weights on both");
      losses.forEach((loss, step) => assertNear(loss, alone?.losses[step], 1e-5));
    }
    for (const { took, hostTimes, times } of seen) {
      const parts = [hostTimes.gpu, hostTimes.copy, times.reduce, times.wait];
      assert.ok(parts.every((part) => part > 0), parts.join());
      assert.ok(parts.reduce((sum, part) => sum + part) < took, parts.join());
    }

    const halves = await seenBy(engine, 2, "halves");
    const [first] = seen;
    for (const { losses, weights } of halves) {
      assert.deepEqual(losses, halves[0]?.losses);
      assert.deepEqual(weights, halves[0]?.weights, "the same weights on both");
      assert.notDeepEqual(weights, first?.weights, "gradients travelled as halves");
      losses.forEach((loss, step) => assertNear(loss, first?.losses[step], 1e-6));
      weights.forEach((weight, at) => assertNear(weight, first?.weights[at], 1e-4));
    }
  });

  Deno.test(`a rank that does not answer ends the job over ${engine.launcher}`, async () => {
    const { code, text } = await run(engine, 2, "hang");
    assert.equal(code, 75);
    assert.match(text, /rank 0 of 2 could not wait for each other within 4 s: another rank or/);
  });
}

Deno.test("a library that is none of MPI is refused in a sentence", async () => {
  const { code, errors } = await run({ ...MPICH, library: findLibrary("libc.so.6") }, 1);
  assert.notEqual(code, 0);
  assert.match(errors, /Cannot use \S+libc\.so\.6 as it exports no MPI_Init_thread: expected/);
});
