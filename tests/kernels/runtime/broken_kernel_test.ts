// Where a kernel is broken is said also where WebGPU tells of what follows from it first.

import assert from "node:assert/strict";
import { defineKernel, dispatch, openGpu } from "../../../kernels/runtime/mod.ts";

const broken = defineKernel({
  file: "broken.wgsl",
  source: `
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) { y[id.x] = z[id.x]; }
`,
  name: "broken.forward",
  entry: "forward",
  reads: [],
  writes: ["y"],
});
const WHERE = /^Cannot build broken\.forward:\nbroken\.wgsl:4:\d+: [^]*y\[id\.x\] = z\[id\.x\]/;

const later = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

Deno.test("an error that follows from a broken kernel does not hide its file and line", async () => {
  using gpu = await openGpu();
  const { device } = gpu;
  // Dawn, in Chromium, tells of an error scope after the errors that use of the pipeline raises.
  const pop = device.popErrorScope.bind(device);
  device.popErrorScope = async () => {
    const error = await pop();
    await later(100);
    return error;
  };
  const reported: string[] = [];
  device.addEventListener("uncapturederror", (event) => {
    reported.push((event as GPUUncapturedErrorEvent).error.message);
  });
  using y = gpu.zeros([3], "y");
  dispatch(broken, { y }, {}, 3);
  gpu.flush();
  await later(30);
  assert.notEqual(reported.length, 0, "something was reported before the kernel's own error");
  gpu.check(); // it is not known yet why
  await assert.rejects(gpu.finish(), { name: "GpuError", message: WHERE });
  assert.throws(() => gpu.flush(), { name: "GpuError", message: WHERE });
});

Deno.test("an error that follows from no kernel is kept although one is being built", async () => {
  using gpu = await openGpu();
  const { device } = gpu;
  const pop = device.popErrorScope.bind(device);
  device.popErrorScope = () => pop().then(() => null); // the scope has caught nothing
  using y = gpu.zeros([3], "y");
  dispatch(broken, { y }, {}, 3);
  await assert.rejects(gpu.finish(), { name: "GpuError", message: /^The GPU reported an error: / });
});

Deno.test("a broken kernel has its file where there are no messages, and warnings stay out", async () => {
  for (
    const [messages, expected] of [
      [[], /^Cannot build broken\.forward:\nbroken\.wgsl: \S/],
      [
        [message("warning", 1), message("error", 4)],
        /^[^\n]*\nbroken\.wgsl:4:2: an error\n[^\n]*$/,
      ],
      [null, /^Cannot build broken\.forward:\nbroken\.wgsl: \S/],
    ] as const
  ) {
    using gpu = await openGpu();
    const { device } = gpu;
    const create = device.createShaderModule.bind(device);
    device.createShaderModule = (descriptor) => {
      const module = create(descriptor);
      module.getCompilationInfo = () =>
        messages === null
          ? Promise.reject(new Error("not supported"))
          : Promise.resolve({ messages } as unknown as GPUCompilationInfo);
      return module;
    };
    using y = gpu.zeros([3], "y");
    dispatch(broken, { y }, {}, 3);
    await assert.rejects(y.read(), { name: "GpuError", message: expected });
  }
});

function message(type: string, lineNum: number) {
  return { type, lineNum, linePos: 2, message: `an ${type}` };
}
