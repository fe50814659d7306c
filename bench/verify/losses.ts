// A hundred steps on streets beside those of lavapipe. Training amplifies every rounding error, so
// that only the first steps of each stage must agree. After preset `default` has changed, it is recorded anew:
//
//     deno run -A bench/verify/losses.ts '{"seconds": 600, "facts": {}}' --record bench/verify/losses_of_lavapipe.json

import { openGpu } from "../../kernels/runtime/mod.ts";
import recorded from "./losses_of_lavapipe.json" with { type: "json" };
import { digits, percent, row, runPart, tableHead } from "./part.ts";
import { shortRun, type StepLosses, STEPS } from "./short_run.ts";

/**
 * How many steps of each stage must agree, and how well. SwiftShader is within 2.6e-5 (source) and
 * 1.1e-3 (stage 1) of what was recorded, the kernels for GPUs are within 3.6e-6 and 7.4e-4; twice as
 * many steps later, differences are a hundred times as large.
 */
const COMPARED = {
  source: { steps: 8, tolerance: 1e-3 },
  stage1: { steps: 4, tolerance: 1e-2 },
} as const;
/** The first steps are in the table, and then every so many. */
const FIRST = 10;
const SHOWN = 5;

interface Recorded {
  readonly adapter: string;
  readonly steps: readonly StepLosses[];
}

await runPart(async (part) => {
  const record = Deno.args[Deno.args.indexOf("--record") + 1];
  const gpu = await openGpu();
  const { adapter, steps: expected } = recorded as Recorded;
  const steps: StepLosses[] = [];
  const worst = { source: 0, stage1: 0 };
  part.say(
    `Losses here and, in brackets, on ${adapter}. ${
      Object.entries(COMPARED).map(([stage, { steps, tolerance }]) =>
        `The first ${steps} steps of ${stage} must agree to ${tolerance}. `
      ).join("")
    }After that, rounding decides.`,
    "",
    tableHead("step", "losses", "difference", "ms"),
  );
  let before = performance.now();
  for await (const found of shortRun(gpu)) {
    const { stage, step, losses } = found;
    const now = performance.now();
    const milliseconds = now - before;
    before = now;
    steps.push(found);
    const other = expected.find((one) => one.stage === stage && one.step === step)?.losses ?? {};
    const difference = Math.max(
      ...Object.entries(losses).map(([name, value]) => relative(value, other[name] ?? NaN)),
    );
    if (step < COMPARED[stage].steps) worst[stage] = larger(worst[stage], difference);
    if (step < FIRST || step % SHOWN === SHOWN - 1) {
      const list = Object.entries(losses).map(([name, value]) =>
        `${name} ${value.toPrecision(6)} (${(other[name] ?? NaN).toPrecision(6)})`
      );
      part.say(
        row(`${stage} ${step + 1}`, list.join(", "), percentOf(difference), digits(milliseconds)),
      );
    }
    if (part.left < 0) {
      part.skip(`${STEPS.source + STEPS.stage1 - steps.length} steps, for want of time`);
      break;
    }
  }
  gpu.close();
  if (Deno.args.includes("--record")) {
    const rounded = steps.map(({ losses, ...rest }) => ({
      ...rest,
      losses: Object.fromEntries(
        Object.entries(losses).map(([name, value]) => [name, Number(value.toPrecision(8))]),
      ),
    }));
    const lines = rounded.map((step) => `    ${JSON.stringify(step)}`).join(",\n");
    const name = JSON.stringify(gpu.adapter.description);
    Deno.writeTextFileSync(
      record ?? "",
      `{\n  "adapter": ${name},\n  "steps": [\n${lines}\n  ]\n}\n`,
    );
  }
  const last = steps.at(-1);
  for (const stage of ["source", "stage1"] as const) {
    if (!(worst[stage] <= COMPARED[stage].tolerance)) {
      part.wrong(
        `the first losses of ${stage} differ by ${percentOf(worst[stage])} from lavapipe's`,
      );
    }
  }
  part.conclude(
    `${steps.length} steps; the first differ by at most ${percentOf(worst.source)} in ` +
      `source, ${percentOf(worst.stage1)} in stage 1; the last loss is ` +
      `${digits(Object.values(last?.losses ?? {})[0] ?? NaN)}`,
  );
});

/** The difference as a share of the larger value; NaN where one is none. */
function relative(a: number, b: number): number {
  if (a === b) return 0;
  return Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b), 1e-3);
}

/** NaN is the largest of all. */
function larger(a: number, b: number): number {
  return Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.max(a, b);
}

function percentOf(share: number): string {
  return share >= 0.1 ? percent(share) : share.toExponential(1);
}
