// Throughput of matrix products and convolutions with both gradients: each is checked against
// doubles on the host, then timed.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { convolutions, squareProduct } from "../_operations.ts";
import type { Operation } from "../_throughput.ts";
import {
  digits,
  median,
  openTimedGpu,
  type Part,
  percent,
  row,
  runPart,
  tableHead,
  teraflops,
  timesOf,
} from "./part.ts";
import { CONVOLUTIONS, flopsOf, PRODUCTS } from "./shapes.ts";

const ROUNDS = 7;
/** The share of the roof that is counted on before anything was measured. */
const EXPECTED_SHARE = 0.25;
/**
 * Seconds in which the host makes numbers and checks results, for 10^9 operations of one product.
 */
const HOST_SECONDS = 0.3;
/** The share of the time left that one shape may take. */
const MOST_OF_TIME = 0.25;

await runPart(async (part) => {
  const roof = part.number("fma");
  const { left } = part;
  const gpu = await openTimedGpu();
  part.say(
    `Class ${gpu.kernelClass}; ${gpu.profiler ? "timestamps" : "the host's clock"}; all kernels ` +
      "of an operation, packing too; what Winograd and borders save counts as done.",
    "",
    tableHead("operation", "ms", "TFLOP/s", "best TFLOP/s", "of FMA roof", "result"),
  );
  const sets = [
    ...PRODUCTS.map((size) => ({
      name: `matmul ${size}`,
      flops: 2 * size ** 3,
      make: () => [squareProduct(gpu, size)],
    })),
    ...CONVOLUTIONS.map((shape) => ({
      name: shape.name,
      flops: 3 * flopsOf(shape),
      make: () => convolutions(gpu, shape),
    })),
    ...(gpu.hasHalves ? inHalves(gpu) : []),
  ];
  const rates: number[] = [];
  let best = { name: "", rate: 0 };
  let skipped = 0;
  for (const { name, flops, make } of sets) {
    const rate = rates.length > 0 ? median(rates) : EXPECTED_SHARE * roof;
    const seconds = flops * (ROUNDS + 2) / (rate > 0 ? rate : 1e9) + HOST_SECONDS * flops / 1e11;
    if (!(seconds < MOST_OF_TIME * part.left)) {
      skipped++;
      part.say(row(name, "", "", "", "", skipReason(seconds, rate, part.left)));
      continue;
    }
    for (const operation of make()) {
      if (part.left < 0) break;
      const rate = await measure(part, gpu, operation, roof);
      if (rate > 0) rates.push(rate);
      if (rate > best.rate) best = { name: operation.name, rate };
    }
    gpu.pool.trim();
  }
  if (skipped > 0) {
    part.skip(`${skipped} of ${sets.length} shapes, as ${digits(left)} s are too few`);
  }
  part.conclude(
    `best ${digits(best.rate / 1e12)} TFLOP/s (${percent(best.rate / roof)} of the ` +
      `FMA roof) in ${best.name}`,
    rates.length > 0 ? "ok" : "skipped",
  );
  gpu.close();
});

/** The first product, and the convolutions with as many channels as a deep network's. */
function inHalves(gpu: Gpu) {
  const [size = 0] = PRODUCTS;
  return [
    {
      name: `matmul ${size} in f16`,
      flops: 2 * size ** 3,
      make: () => [squareProduct(gpu, size, "f16")],
    },
    ...CONVOLUTIONS.filter(({ x }) => x[1] >= 256).map((shape) => ({
      name: `${shape.name} in f16`,
      flops: 3 * flopsOf(shape),
      make: () => convolutions(gpu, shape, "f16"),
    })),
  ];
}

function skipReason(seconds: number, rate: number, left: number): string {
  return `skipped: would take ${digits(seconds)} s at ${digits(rate / 1e9)} GFLOP/s, of the ` +
    `${digits(Math.max(0, left))} s left`;
}

/** Checks and times one operation; the median rate, 0 where the result is wrong. */
async function measure(
  part: Part,
  gpu: Gpu,
  { name, flops, run, check }: Operation,
  roof: number,
): Promise<number> {
  let fault: string | null = null;
  const output = run();
  try {
    check(await output.read());
  } catch (error) {
    fault = (error as Error).message.split("\n")[0] ?? "wrong";
    if (!(error as Error).name.startsWith("AssertionError")) throw error;
    part.wrong(fault);
  } finally {
    output.release();
  }
  const times = await timesOf(gpu, () => run().release(), ROUNDS, () => part.left < 0);
  const [middle, least] = [median(times), Math.min(...times)];
  const rate = 1e12 * teraflops(flops, middle);
  part.say(row(
    name,
    digits(middle),
    digits(rate / 1e12),
    digits(teraflops(flops, least)),
    percent(rate / roof),
    fault === null ? "right" : `WRONG: ${fault}`,
  ));
  return fault === null && Number.isFinite(rate) ? rate : 0;
}
