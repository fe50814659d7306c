import { strict as assert } from "node:assert";
import { linear } from "../../nn/functional/linear.ts";
import { tensor } from "../../nn/tensor.ts";
import { checkOp } from "../_check.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import * as reference from "../_reference/conv2d.ts";

for (const [rows, inputs, outputs] of [[1, 1, 1], [3, 5, 17], [4, 33, 3], [17, 16, 20]] as const) {
  for (const bias of [false, true]) {
    for (const kernels of KERNEL_CLASSES) {
      Deno.test(`linear of [${rows}, ${inputs}] to ${outputs} ${bias ? "with" : "without"} bias (${kernels})`, () =>
        checkOp(
          (x, weight, bias) => linear(x!, weight!, bias ?? null),
          (x, weight, bias) => reference.linear(x!, weight!, bias ?? null),
          {
            shapes: [[rows, inputs], [outputs, inputs], ...(bias ? [[outputs]] : [])],
            narrow: 8192,
            kernels,
          },
        ));
    }
  }
}

Deno.test("linear says which sizes do not fit", async () => {
  const gpu = await testGpu();
  const x = tensor(gpu, [1, 2, 3], [1, 3]);
  const weight = tensor(gpu, [1, 2, 3, 4], [2, 2]);
  assert.throws(() => linear(x, weight), {
    name: "TypeError",
    message:
      "Cannot run linear as input columns must equal weight columns: input has 3, weight expects 2",
  });
  x.dispose();
  weight.dispose();
});
