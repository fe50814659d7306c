/**
 * A classifier of pixels: tensors, the tape, an optimiser, and how GPU memory is given back.
 *
 *     deno run examples/pixel_classifier.ts
 *
 * In a project of your own the file stays as it is: map "@proda/webgpu" to the mod.ts of a clone in
 * its deno.json.
 */
import { backward, functional, kernels, noGrad, openGpu, scope, Sgd, tensor } from "@proda/webgpu";

const gpu = await openGpu();

// One image of 2×2 pixels and one channel, [N, C, H, W], and the class of each pixel, [N, H, W].
const images = tensor(gpu, [0.1, 0.9, 0.2, 0.8], [1, 1, 2, 2]);
const labels = gpu.upload(new Uint32Array([0, 1, 0, 1]), [1, 2, 2], "labels");

// A 1×1 convolution gives every pixel a score for each of two classes.
const weight = tensor(gpu, [0.1, -0.1], [2, 1, 1, 1], { requiresGrad: true });
const bias = tensor(gpu, [0, 0], [2], { requiresGrad: true });
const parameters = new Map([["weight", weight], ["bias", bias]]);
const optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 0 });

for (let step = 1; step <= 30; step++) {
  // A scope frees what is made inside, except what is returned.
  const loss = scope(() => {
    const logits = functional.conv2d(images, weight, bias);
    const loss = functional.crossEntropy(logits, labels);
    backward(loss);
    return loss;
  });
  optimiser.step(0.5); // the learning rate
  optimiser.zeroGrad();
  if (step % 5 === 0) console.log(`step ${step}: loss ${(await loss.read())[0].toFixed(3)}`);
  loss.dispose();
}

// Nothing is recorded for a backward here.
const logits = noGrad(() => functional.conv2d(images, weight, bias));
const { labels: predicted, confidence } = kernels.argmax(logits.array);
console.log(`predicted classes: ${(await predicted.read()).join(" ")}`);

for (const tensor of [images, weight, bias, logits]) tensor.dispose();
for (const array of [labels, predicted, confidence]) array.release();
optimiser.dispose();
console.log(`bytes left on the GPU: ${gpu.memory.live}`);
gpu.close();
