// What a closed or lost device does: every public call throws one and the same sentence.

import assert from "node:assert/strict";
import {
  type Gpu,
  GpuArray,
  GpuError,
  openGpu,
  planningGpu,
  sliceByElement,
  sliceByImage,
  tune,
} from "../../../kernels/runtime/mod.ts";
import { scaleForward } from "../../../kernels/elementwise.ts";

type Calls = Record<string, (gpu: Gpu, x: GpuArray, y: GpuArray) => unknown>;

const GPU_CALLS: Calls = {
  empty: (gpu) => gpu.empty([2], "new"),
  zeros: (gpu) => gpu.zeros([2], "new"),
  upload: (gpu) => gpu.upload(Float32Array.of(1, 2), [2], "new"),
  write: (gpu, x) => gpu.write(x, Float32Array.of(1, 2)),
  clear: (gpu, x) => gpu.clear(x),
  copy: (gpu, x, y) => gpu.copy(x, y),
  onHost: (gpu, x) => gpu.onHost([x], () => Promise.resolve()),
  readAll: (gpu, x, y) => gpu.readAll([x, y]),
  readLater: (gpu, x, y) => gpu.readLater([x, y])(),
  run: (_, x) => scaleForward(x, 2), // by `dispatch`, which is how to use it
  flush: (gpu) => gpu.flush(),
  finish: (gpu) => gpu.finish(),
  check: (gpu) => gpu.check(),
};
const ARRAY_CALLS: Calls = {
  view: (_, x) => x.view([1, 2]),
  slice: (_, x) => x.slice(0, 1),
  stretch: (_, x) => x.stretch(0, 1),
  derived: (_, x) => x.derived("kept", () => assert.fail("it is kept")),
  read: (_, x) => x.read(),
  together: (_, x, y) => GpuArray.together([x, y]),
  spanning: (_, x) => GpuArray.spanning([x]),
};
const OTHER_CALLS: Calls = {
  "profiler.report": (gpu) => gpu.profiler?.report(),
  tune: (gpu) => tune(gpu),
  sliceByImage: (_, x, y) => sliceByImage([x], [y], ([x]) => void scaleForward(x, 2)),
  sliceByElement: (_, x, y) => sliceByElement([x], [y], () => {}),
};
/** These count, or give back: what `using` and `finally` do after an error must not throw another. */
const GO_ON = ["alone", "resetPeak", "retain", "release", "close"];

/** How devices end, and the sentence that says so. */
const ENDS: Record<string, { end: (gpu: Gpu) => Promise<void> | void; sentence: RegExp }> = {
  "closed": {
    end: (gpu) => gpu.close(),
    sentence: /^Cannot use the GPU after close\(\): open it anew$/,
  },
  "lost": {
    end: async (gpu) => {
      gpu.device.destroy(); // what a reset of the driver does
      await gpu.device.lost;
    },
    sentence:
      /^The GPU device was lost \(destroyed\): .*; open it anew and go on from what was saved$/,
  },
};

/** Fails where the call hangs. */
async function inTime(name: string, call: () => unknown): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} hangs`)), 5000);
  });
  try {
    return await Promise.race([(async () => await call())(), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function checkEnd(gpu: Gpu, { end, sentence }: typeof ENDS[string]): Promise<void> {
  const x = gpu.upload(Float32Array.of(1, 2), [2], "x");
  const y = scaleForward(x, 2);
  x.derived("kept", () => scaleForward(x, 3)).release();
  await gpu.finish();
  await end(gpu);
  const found = new Set<string>();
  for (const [name, call] of Object.entries({ ...GPU_CALLS, ...ARRAY_CALLS, ...OTHER_CALLS })) {
    await assert.rejects(inTime(name, () => call(gpu, x, y)), (error) => {
      assert.ok(error instanceof GpuError, `${name} throws ${error}`);
      assert.match(error.message, sentence, name);
      found.add(error.message);
      return true;
    }, name);
  }
  assert.equal(found.size, 1);
  gpu.resetPeak();
  x.retain().release();
  for (const array of [x, y]) array.release();
  assert.equal(gpu.memory.live, 0);
  gpu.close();
}

for (const [name, how] of Object.entries(ENDS)) {
  Deno.test(`every public call on a device that is ${name} throws the same sentence`, async () => {
    await checkEnd(await openGpu({ profile: true }), how);
  });
}

Deno.test("so does every call on a planning device that is closed", () =>
  checkEnd(planningGpu(), ENDS.closed as typeof ENDS[string]));

Deno.test("those are all public calls", () => {
  const methods = (object: object) =>
    Object.entries(Object.getOwnPropertyDescriptors(object))
      .filter(([name, { value }]) => typeof value === "function" && name !== "constructor")
      .map(([name]) => name);
  using gpu = planningGpu();
  const statics = methods(GpuArray).filter((name) => name !== "prototype");
  const all = [...methods(Object.getPrototypeOf(gpu)), ...methods(GpuArray.prototype), ...statics];
  const known = [...Object.keys({ ...GPU_CALLS, ...ARRAY_CALLS }), ...GO_ON];
  assert.deepEqual(all.sort(), known.sort());
});

Deno.test("what is under way when a device is closed is refused too", async () => {
  const { end, sentence } = ENDS.closed as typeof ENDS[string];
  const gpu = await openGpu({ profile: true });
  const x = gpu.zeros([1 << 20], "x");
  const later = gpu.readLater([x]);
  const underWay = [x.read(), gpu.finish(), scaleForward(x, 2).read()].map((promise) =>
    assert.rejects(inTime("what is under way", () => promise), {
      name: "GpuError",
      message: sentence,
    })
  );
  await end(gpu);
  await Promise.all(underWay);
  await assert.rejects(inTime("what was asked for", later), {
    name: "GpuError",
    message: sentence,
  });
});
