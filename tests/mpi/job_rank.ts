// One rank that does as it is told, within what the command line does around a training.

import { inJob } from "../../cli/job.ts";
import { StopSignals } from "../../cli/signals.ts";
import { presetConfig } from "../../train/config/config.ts";

const [library, what, folder, timeout] = Deno.args;

/** Keeps the GPU busy for half a minute, and the thread that waits for it. */
async function hangGpu(): Promise<void> {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter?.requestDevice();
  if (!device) throw new Error("no device");
  const code = `
    @group(0) @binding(0) var<storage, read_write> x: array<u32>;
    @compute @workgroup_size(1) fn loop_long() {
      for (var i = 0u; i < 4000000000u; i++) { x[i & 1u] = x[(i + 1u) & 1u] * 1664525u + i; }
    }`;
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }) },
  });
  const buffer = device.createBuffer({ size: 8, usage: 4 | 128 });
  const read = device.createBuffer({ size: 8, usage: 1 | 8 });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [{ binding: 0, resource: { buffer } }];
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, read, 0, 8);
  device.queue.submit([encoder.finish()]);
  await read.mapAsync(1);
}

const exitCode = await inJob({ mpi: library, collectiveTimeout: Number(timeout) }, async (job) => {
  const { ranks: { rank } } = job;
  // As where each rank names the folder by its own clock.
  const config = { ...presetConfig("quick"), out: `${folder}${rank}` };
  const agreed = await job.agree({ config, preset: "quick", layers: [], hasOwnData: false }, true);
  job.observer.stageStart({ name: "stage1", steps: 9, firstStep: 3 });
  const report = { stage: "stage1", step: 3, steps: 9, losses: {}, learningRate: 0 };
  job.observer.step({ ...report, stepsPerSecond: 1 });
  console.log(`rank ${rank} runs in ${agreed.config.out}`);
  if (rank === 1) {
    if (what === "sleep") await new Promise((resolve) => setTimeout(resolve, 60_000));
    if (what === "block") {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
    }
    if (what === "hang") await hangGpu();
  }
  await job.ranks.barrier();
  using stop = new StopSignals(() => {}, "step");
  const found = await stop.guard(() => job.ofFirst(stop, () => ["found by rank", rank]));
  console.log(`rank ${rank} hears ${found?.join(" ")}`);
  const given = await stop.guard(() =>
    job.ofFirst(stop, () => {
      stop.follow(140); // as where a signal comes to the first rank alone
      throw stop.signal.reason;
    })
  );
  return given === null && rank === 1 ? stop.exitCode : 0;
});
Deno.exit(exitCode);
