// Builds every pipeline of the shared class as the library does, each after a line that names it:
// radeon.sh runs this, and statistics.ts reads what the driver says in between.

import "../../mod.ts"; // defines all kernels
import { definedKernels, type Kernel } from "../../kernels/runtime/kernel.ts";
import { openGpu } from "../../kernels/runtime/mod.ts";
import { PipelineCache } from "../../kernels/runtime/pipelines.ts";
import { mark } from "./marks.ts";

/** What the direct class runs in the place of kernels of the shared class. */
const DIRECT = [
  "conv2d.correlate",
  "conv2d.correlate_add",
  "conv2d.correlate_narrow",
  "conv2d.correlate_narrow_add",
  "conv2d.weight_gradient",
  "matmul.multiply",
  "matmul.multiply_add",
  "prototype_distances.backward",
];

using gpu = await openGpu({ kernels: "shared" });
const failures: Error[] = [];
const pipelines = new PipelineCache(
  gpu.device,
  gpu.queue.paramsLayout,
  (error) => failures.push(error),
);
const kernels = definedKernels();
const unknown = DIRECT.filter((name) => !kernels.some((kernel) => kernel.name === name));
if (unknown.length > 0) throw new Error(`No kernel is called ${unknown.join(", ")}`);
const names = kernels.map(({ name }) => name);
/** The name, with the constants of kernels that differ by them alone. */
const labelOf = ({ name, constants }: Kernel) =>
  names.indexOf(name) === names.lastIndexOf(name)
    ? name
    : [name, ...Object.entries(constants).map(([key, value]) => `${key}=${value}`)].join(" ");
for (const kernel of kernels) {
  if (DIRECT.includes(kernel.name)) continue;
  mark("kernel", labelOf(kernel));
  pipelines.get(kernel);
}
mark("end");
await pipelines.built();
for (const error of failures) throw error;
