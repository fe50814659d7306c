// The library as others use it: a project of their own, one import, no permission.

import assert from "node:assert/strict";
import { join } from "node:path";

const MAIN = `
import { backward, BatchNorm2d, Conv2d, functional, openGpu, scope, Sgd, tensor } from "@proda/webgpu";

const gpu = await openGpu();
const size = 16;
const pixels = new Float32Array(3 * size * size);
const labels = new Uint32Array(size * size);
for (let i = 0; i < size * size; i++) {
  labels[i] = (i >> 2) & 1; // stripes, told apart by their colour only
  pixels[i] = labels[i];
  pixels[size * size + i] = 0.5;
  pixels[2 * size * size + i] = (i * 7 % 5) / 5;
}
const images = tensor(gpu, pixels, [1, 3, size, size]);
const target = gpu.upload(labels, [1, size, size], "labels");
const first = new Conv2d(gpu, { inputs: 3, outputs: 8, kernel: 3, padding: 2, dilation: 2 });
const norm = new BatchNorm2d(gpu, 8);
const last = new Conv2d(gpu, { inputs: 8, outputs: 2, kernel: 1 });
for (const [index, parameter] of [...first.namedParameters().values(), ...last.namedParameters().values()].entries()) {
  const values = Float32Array.from({ length: parameter.array.size }, (_, i) => Math.sin(i * 12.9898 + index) / 4);
  gpu.write(parameter.array, values);
}
const parameters = new Map([
  ...first.namedParameters("first"), ...norm.namedParameters("norm"), ...last.namedParameters("last"),
]);
const optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 1e-4 });
const losses = [];
for (let step = 0; step < 15; step++) {
  const loss = scope(() => {
    const logits = last.forward(functional.relu(norm.forward(first.forward(images))));
    const loss = functional.crossEntropy(logits, target);
    backward(loss);
    return loss;
  });
  optimiser.step(0.2);
  optimiser.zeroGrad();
  losses.push((await loss.read())[0]);
  loss.dispose();
}
console.log(JSON.stringify(losses));
gpu.close();
`;

Deno.test("a project of its own trains a classifier of pixels without any permission", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const library = new URL("../mod.ts", import.meta.url).href;
    Deno.writeTextFileSync(join(folder, "main.ts"), MAIN);
    Deno.writeTextFileSync(
      join(folder, "deno.json"),
      JSON.stringify({ imports: { "@proda/webgpu": library } }),
    );
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: ["run", "--no-prompt", "--check", "main.ts"],
      cwd: folder,
    }).output();
    const error = new TextDecoder().decode(stderr);
    assert.equal(code, 0, error);
    const losses: number[] = JSON.parse(new TextDecoder().decode(stdout));
    assert.equal(losses.length, 15);
    assert.ok(losses[14] < 0.1 && losses[14] < losses[0] / 4, `losses: ${losses}`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
