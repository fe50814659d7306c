// Throughput of square matrix products, each checked first: `deno task bench` or
// `deno bench bench/matmul_bench.ts`.

import { openGpu } from "../kernels/runtime/mod.ts";
import { squareProduct } from "./_operations.ts";
import { measureRoof } from "./_roof.ts";
import { printThroughput } from "./_throughput.ts";

const gpu = await openGpu({ profile: true });
const operations = [256, 512, 1024].map((size) => squareProduct(gpu, size));
await printThroughput(gpu, "Matrix products", operations, await measureRoof(gpu));
gpu.close();
