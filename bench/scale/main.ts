// How a training step scales: measured at 1, 2 and 4 ranks on this machine, and carried to more GPUs by
// model.ts: `deno task bench:scale [mpirun.openmpi | mpirun.mpich]`. All ranks share this machine's processors,
// so that more of them are not faster; what counts is the share of a step that they spend with each other.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { MOST_GATHERED } from "../../kernels/batch_norm.ts";
import { type Engine, ENGINES } from "../../tests/mpi/_engines.ts";
import { measureHost } from "./host.ts";
import {
  gigabits,
  type Host,
  limitOfStaging,
  modelStep,
  type Network,
  type Overlap,
  type Work,
} from "./model.ts";
import { type NetworkName, NETWORKS, type RankFound, type StepTimes } from "./networks.ts";

const RANK = fileURLToPath(new URL("rank.ts", import.meta.url));

/** How a network is measured. */
interface Way {
  readonly name: string;
  readonly ranks: number;
  readonly wire?: "f16";
  /** For the launcher. */
  readonly flags?: readonly string[];
}

const WAYS: readonly Way[] = [
  { name: "1", ranks: 1 },
  { name: "2", ranks: 2 },
  { name: "4", ranks: 4 },
  { name: "2, gradients in 16 bits", ranks: 2, wire: "f16" },
];
const TCP: Way = { name: "2 over TCP", ranks: 2, flags: ["--mca", "btl", "tcp,self"] };

/** Steps of a round, and rounds: some seconds of each network. */
const LENGTHS: Readonly<Record<NetworkName, readonly [number, number]>> = {
  streets: [10, 5],
  r50: [1, 3],
};
const PARTS = ["compute", "readBack", "reduce", "wait"] as const;

/** A step of medium's source stage is 2,050 GFLOP: so long on a GPU that reaches 10 TFLOP/s. */
const GPU_STEP = 205;
const NETWORK_LATENCY = 0.01;
const GPUS = [8, 64, 512];
const GIGABITS = [10, 100, 400];
const OVERLAPS: readonly Overlap[] = ["after", "buckets", "backward"];

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Lets ranks measure a network, each with its share of the processors. */
async function measure(
  engine: Engine,
  name: NetworkName,
  { ranks, wire, flags = [] }: Way,
): Promise<RankFound[]> {
  const threads = Math.max(1, Math.floor(navigator.hardwareConcurrency / ranks));
  const { library } = engine;
  const permissions = [`--allow-ffi=${library}`, `--allow-read=${library}`];
  const rank = ["deno", "run", "--no-prompt", "--no-check", ...permissions, RANK, library];
  const { code, stdout, stderr } = await new Deno.Command(engine.launcher, {
    args: [
      ...[...engine.flags, ...flags, "-n", `${ranks}`],
      ...[...rank, name, ...LENGTHS[name].map(String), wire ?? "f32"],
    ],
    env: { LP_NUM_THREADS: `${threads}` },
  }).output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.equal(code, 0, errors);
  const found = text.split("\n").filter((line) => line.startsWith("{"))
    .map((line): RankFound => JSON.parse(line));
  assert.equal(found.length, ranks, text + errors);
  return found;
}

/** Medians over rounds of what the ranks have measured on average. */
function summarise(found: readonly RankFound[]): StepTimes {
  const rounds = found[0]!.times.map((_, round) => found.map(({ times }) => times[round]!));
  const of = (part: keyof StepTimes) =>
    median(
      rounds.map((ranks) => ranks.reduce((sum, times) => sum + times[part], 0) / ranks.length),
    );
  return {
    ...{ step: of("step"), compute: of("compute"), readBack: of("readBack") },
    ...{ reduce: of("reduce"), wait: of("wait") },
  };
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  console.log(`| ${head.join(" | ")} |`);
  console.log(`| ${head.map((_, at) => at === 0 ? "---" : "---:").join(" | ")} |`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
  console.log();
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** The rows of a network; what it reduces is told by the last of them. */
async function measureNetwork(engine: Engine, name: NetworkName) {
  const rows: string[][] = [];
  let last: RankFound | undefined;
  for (const way of engine.launcher === "mpirun.openmpi" ? [...WAYS, TCP] : WAYS) {
    const found = await measure(engine, name, way);
    const times = summarise(found);
    [last] = found;
    const { batch } = NETWORKS[name].config.data;
    const lost = times.readBack + times.reduce + times.wait;
    rows.push([
      `${name}, ${way.name}`,
      times.step.toFixed(0),
      (1000 * batch / times.step).toFixed(1),
      ...PARTS.map((part) => times[part].toFixed(1)),
      percent((times.reduce + times.wait) / times.step),
      percent(lost / times.step),
    ]);
  }
  return { rows, reduced: last! };
}

/** What r50 does on each of so many GPUs, from what it has reduced on this machine. */
function workOn(ranks: number, { gradientBytes, sums, sumBytes }: RankFound): Work {
  const { batch } = NETWORKS.r50.config.data; // all of it here, on each GPU there
  const images = ranks * batch;
  const gathered = images > MOST_GATHERED ? 1 : images;
  return {
    ...{ compute: GPU_STEP, gradientBytes, smallSums: sums },
    smallBytes: sumBytes / batch * gathered,
  };
}

function printModel(reduced: RankFound, host: Host): void {
  const rows = GPUS.flatMap((ranks) =>
    GIGABITS.map((count) => {
      const work = workOn(ranks, reduced);
      const network: Network = { rate: gigabits(count), latency: NETWORK_LATENCY };
      const steps = [
        ...OVERLAPS.map((overlap) => modelStep(work, host, network, { ranks, overlap })),
        modelStep(work, host, network, { ranks, overlap: "buckets", halves: true }),
      ];
      return [
        `${ranks} × ${count} Gbit/s`,
        ...steps.map(({ step }) =>
          `${step.toFixed(0)} (${(100 * work.compute / step).toFixed(0)} %)`
        ),
      ];
    })
  );
  table([
    "GPUs × network of each",
    "reduced after the transfer",
    "in buckets, as it is",
    "during the backward, too",
    "as it is, 16 bits",
  ], rows);
  const limit = limitOfStaging(host, 64) / gigabits(1);
  console.log(
    `Milliseconds of a step, in brackets the share of computing. By way of the host come ` +
      `${(host.staged / 1e6).toFixed(1)} GB/s: no network is of use that is faster than ${
        limit.toFixed(0)
      } Gbit/s.`,
  );
}

const [launcher = "mpirun.openmpi"] = Deno.args;
const engine = ENGINES.find((engine) => engine.launcher === launcher);
assert.ok(engine, `${launcher} is none of ${ENGINES.map(({ launcher }) => launcher).join(", ")}`);
const names = Object.keys(NETWORKS) as NetworkName[];
const measured = new Map<NetworkName, Awaited<ReturnType<typeof measureNetwork>>>();
for (const name of names) measured.set(name, await measureNetwork(engine, name));
const { reduced } = measured.get("r50")!;
const host = await measureHost(reduced.gradientBytes);

console.log(
  `Steps of a source stage over ${reduced.engine} on ${reduced.adapter}, ` +
    `${navigator.hardwareConcurrency} processors for all ranks\n`,
);
table(
  ["network, ranks", "ms a step", "images/s", ...PARTS, "reduce + wait", "read-back, too"],
  [...measured.values()].flatMap(({ rows }) => rows),
);
for (const [name, { reduced: { sums, sumBytes, gradientBytes } }] of measured) {
  console.log(
    `${name}: ${(gradientBytes / 1e6).toFixed(1)} MB of gradients, ${sums} small sums of ` +
      `${(sumBytes / 1e3).toFixed(0)} kB together`,
  );
}
console.log(
  `The way by the host: ${(host.staged / 1e6).toFixed(1)} GB/s, ${
    host.smallSum.toFixed(2)
  } ms for a ` +
    `small sum; halves are made and added up at ${(host.halved / 1e6).toFixed(1)} GB/s\n`,
);
console.log(
  `On paper: r50 at ${GPU_STEP} ms a step on each GPU, ${
    NETWORK_LATENCY * 1000
  } µs between hosts, and the ` +
    "way by the host as it is here\n",
);
printModel(reduced, host);
