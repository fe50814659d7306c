import { logSoftmax, softmax } from "../../nn/functional/softmax.ts";
import { checkOp } from "../_check.ts";
import * as reference from "../_reference/losses.ts";

for (const [classes, scale] of [[1, 1], [8, 1], [13, 0.5], [19, -2]] as const) {
  const options = { shapes: [[3, classes, 5, 7]], range: [-4, 4] } as const;

  Deno.test(`softmax over ${classes} channels at scale ${scale} matches its reference`, () =>
    checkOp((x) => softmax(x, scale), (x) => reference.softmax(x, scale), options));

  Deno.test(`log-softmax over ${classes} channels at scale ${scale} matches its reference`, () =>
    checkOp((x) => logSoftmax(x, scale), (x) => reference.logSoftmax(x, scale), options));
}

Deno.test("softmax stays finite for logits of a thousand", async () => {
  const inputs = [[1000, -1000, 999, 0, -1000, 1000]];
  const options = { shapes: [[1, 3, 1, 2]], inputs, gradients: [true] } as const;
  await checkOp((x) => softmax(x), (x) => reference.softmax(x), options);
  await checkOp((x) => logSoftmax(x), (x) => reference.logSoftmax(x), {
    ...options,
    gradAtol: 1e-3,
  });
});
