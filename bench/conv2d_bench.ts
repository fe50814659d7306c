// Throughput of convolutions and their gradients, each checked first: `deno task bench` or
// `deno bench bench/conv2d_bench.ts`. S1 to S4 are the shapes that the results speak of.

import { openGpu } from "../kernels/runtime/mod.ts";
import { convolutions } from "./_operations.ts";
import { SHAPES } from "./_shapes.ts";
import { measureRoof } from "./_roof.ts";
import { printThroughput } from "./_throughput.ts";

const gpu = await openGpu({ profile: true });
const roof = await measureRoof(gpu);
for (const shape of SHAPES) await printThroughput(gpu, shape.name, convolutions(gpu, shape), roof);
gpu.close();
