// What the adapter gives at best, measured without the library: multiply-adds, memory, and what a
// launch, a submit and waiting cost.

import { BareGpu, MultiplyAdds, type PassTime } from "./bare_gpu.ts";
import copySource from "./copy.wgsl" with { type: "text" };
import { digits, median, type Part, row, runPart, tableHead } from "./part.ts";

/** No hardware is so fast: what reports more has not run. */
const FASTEST = { flops: 1e15, bytes: 2e13 };
/** Milliseconds that a measurement should take. */
const LONG_ENOUGH = 25;
/** Work of a measurement that is longer than the clock can see on any hardware. */
const MOST_ROUNDS = 2 ** 17;
const LAUNCHES = 2000;
const WAITS = 15;

await runPart(async (part) => {
  part.say(tableHead("roof", "measured"));
  using stack = new DisposableStack();
  const gpu = await BareGpu.open();
  stack.defer(() => gpu.device.destroy());
  const latency = await measureWaiting(part, gpu);
  const single = await measureFma(part, new MultiplyAdds(gpu), "f32", latency);
  part.fact("fma", single);
  const bytes = await measureCopy(part, gpu, latency);
  part.fact("copy", bytes);
  await measureLaunch(part, gpu, latency);
  try {
    const halfGpu = await BareGpu.open({ half: true });
    stack.defer(() => halfGpu.device.destroy());
    const half = new MultiplyAdds(halfGpu, { half: true });
    part.fact("half fma", await measureFma(part, half, "f16", latency));
  } catch (error) {
    part.say(row("FMA f16", `none: ${(error as Error).message.split("\n")[0]}`));
  }
  part.say(
    "",
    `Times are ${
      gpu.device.features.has("timestamp-query") ? "timestamps" : "the host's clock"
    }. ` +
      "FMA: 16 independent chains an invocation, two operations each. Copy: bytes read and " +
      "written. " +
      "Launch: one workgroup that waits for the one before.",
  );
  part.conclude(`FMA ${digits(single / 1e12)} TFLOP/s f32, copy ${digits(bytes / 1e9)} GB/s`);
});

/** Milliseconds of a pass: by timestamps, or by the clock without what waiting costs. */
function milliseconds({ gpu, wall }: PassTime, latency: number): number {
  return Number.isNaN(gpu) ? Math.max(wall - latency, 0) : gpu;
}

/** Milliseconds that an empty submit takes until the host knows. */
async function measureWaiting(part: Part, { device }: BareGpu): Promise<number> {
  const submits: number[] = [];
  const waits: number[] = [];
  for (let round = 0; round < WAITS; round++) {
    const encoder = device.createCommandEncoder();
    const commands = encoder.finish();
    const before = performance.now();
    device.queue.submit([commands]);
    submits.push(performance.now() - before);
    await device.queue.onSubmittedWorkDone();
    waits.push(performance.now() - before);
  }
  part.say(row("submit of nothing", `${digits(1000 * median(submits))} µs`));
  part.say(row("until the host knows that it is done", `${digits(median(waits))} ms`));
  part.fact("latency", median(waits) / 1000);
  return median(waits);
}

async function measureFma(
  part: Part,
  kernel: MultiplyAdds,
  type: string,
  latency: number,
): Promise<number> {
  let rounds = 4;
  let run = await kernel.run(rounds);
  while (milliseconds(run, latency) < LONG_ENOUGH && run.wall < 500 && rounds < MOST_ROUNDS) {
    rounds *= 2;
    run = await kernel.run(rounds);
  }
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    run = await kernel.run(rounds);
    times.push(milliseconds(run, latency));
  }
  const rate = 1000 * run.flops / Math.min(...times);
  part.say(row(`FMA ${type}`, `${digits(rate / 1e12)} TFLOP/s`));
  if (!run.isRight) part.wrong(`multiply-adds in ${type} give other numbers`);
  else if (!(rate < FASTEST.flops)) part.wrong(`the rate in ${type} is beyond any hardware`);
  return rate;
}

async function measureCopy(part: Part, gpu: BareGpu, latency: number): Promise<number> {
  const { device } = gpu;
  const most = part.isSoftware ? 2 ** 26 : 2 ** 29;
  let size = Math.min(most, 2 ** Math.floor(Math.log2(device.limits.maxStorageBufferBindingSize)));
  size = Math.min(size, 2 ** Math.floor(Math.log2(device.limits.maxBufferSize)));
  const [from, to, counter] = [gpu.buffer(size), gpu.buffer(size), gpu.buffer(4)];
  const pattern = Float32Array.from({ length: 1024 }, (_, index) => index + 0.5);
  const end = size - pattern.byteLength;
  for (const offset of [0, end]) device.queue.writeBuffer(from, offset, pattern);
  const kernel = gpu.kernel(copySource, "copy", [
    { binding: 0, buffer: from, access: "read" },
    { binding: 1, buffer: to, access: "write" },
  ]);
  const groups = size / 16 / 256;
  const columns = Math.min(groups, 2 ** 15);
  const times: number[] = [];
  for (let round = 0; round < 6; round++) {
    const time = await gpu.time(kernel, [columns, groups / columns], 1);
    if (round > 0) times.push(milliseconds(time, latency));
  }
  let isRight = true;
  for (const offset of [0, end]) {
    const found = new Float32Array((await gpu.read(to, pattern.byteLength, offset)).buffer);
    isRight &&= found.every((value, index) => value === pattern[index]);
  }
  for (const buffer of [from, to, counter]) buffer.destroy();
  const rate = 2000 * size / Math.min(...times);
  part.say(row(`copy of ${size / 2 ** 20} MiB`, `${digits(rate / 1e9)} GB/s`));
  if (!isRight) part.wrong("a copy differs from what was copied");
  else if (!(rate < FASTEST.bytes)) part.wrong("the rate of a copy is beyond any hardware");
  return rate;
}

async function measureLaunch(part: Part, gpu: BareGpu, latency: number): Promise<void> {
  const counter = gpu.buffer(4);
  const kernel = gpu.kernel(copySource, "count", [
    { binding: 2, buffer: counter, access: "write" },
  ]);
  await gpu.time(kernel, [1, 1], 1);
  const time = await gpu.time(kernel, [1, 1], LAUNCHES);
  const [count] = new Uint32Array((await gpu.read(counter, 4)).buffer);
  const launch = 1000 * milliseconds(time, latency) / LAUNCHES;
  part.say(row("launch", `${digits(launch)} µs`));
  part.fact("launch", launch / 1e6);
  if (count !== LAUNCHES + 1) part.wrong(`${LAUNCHES + 1} launches counted to ${count}`);
}
