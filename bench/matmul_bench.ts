// Throughput of square matrix products, each checked first: `deno task bench` or
// `deno bench bench/matmul_bench.ts`.

import { strict as assert } from "node:assert";
import { matmul } from "../kernels/dense/matmul.ts";
import { type Gpu, openGpu } from "../kernels/runtime/mod.ts";
import { randomNd, seededRandom } from "../tests/_check.ts";
import { measureRoof } from "./_roof.ts";
import { type Operation, printThroughput } from "./_throughput.ts";

function product(gpu: Gpu, size: number): Operation {
  const random = seededRandom(size);
  const [a, b] = [randomNd([size, size], random), randomNd([size, size], random)];
  const [left, right] = [a, b].map(({ data, shape }) =>
    gpu.upload(Float32Array.from(data), shape, "operand")
  );
  if (!left || !right) throw new Error("Cannot multiply fewer than two matrices");
  return {
    name: `matmul ${size}`,
    flops: 2 * size ** 3,
    run: () => matmul(left, right),
    check: (found) => {
      for (let sample = 0; sample < 200; sample++) {
        const [row, column] = [Math.floor(random() * size), Math.floor(random() * size)];
        let sum = 0;
        for (let k = 0; k < size; k++) sum += a.data[row * size + k]! * b.data[k * size + column]!;
        const difference = Math.abs(found[row * size + column]! - sum);
        assert.ok(difference < 1e-3, `matmul ${size}: element [${row}, ${column}] is wrong`);
      }
    },
  };
}

const gpu = await openGpu({ profile: true });
const operations = [256, 512, 1024].map((size) => product(gpu, size));
await printThroughput(gpu, "Matrix products", operations, await measureRoof(gpu));
gpu.close();
