/**
 * A loop of your own on several GPUs: each process has a part of every batch, and all of them one network.
 *
 *     L=/usr/lib/x86_64-linux-gnu/libmpi.so.40   # the library that mpirun belongs to
 *     mpirun -n 2 --bind-to none deno run --allow-ffi=$L --allow-read=$L examples/several_gpus.ts $L
 *
 * In a project of your own the file stays as it is: map "@proda/webgpu" to the mod.ts of a clone in its
 * deno.json, and "@proda/webgpu/mpi" to train/parallel/mpi.ts. Which GPU a process gets is the driver's
 * choice: with Mesa's device-select layer, DRI_PRIME in the environment of each process says.
 */
import {
  backward,
  BatchNorm2d,
  functional,
  openGpu,
  peersOf,
  scope,
  Sgd,
  tensor,
} from "@proda/webgpu";
import { Mpi } from "@proda/webgpu/mpi";

const ranks = new Mpi({ library: Deno.args[0], timeout: 60_000 }); // a minute without answer ends all
const gpu = await openGpu({ peers: peersOf(ranks) });

// A batch of four images of 2×2 pixels, of which each rank takes its share.
const batch = [[1, 8, 2, 9], [9, 2, 8, 1], [7, 3, 9, 1], [2, 8, 1, 9]];
const share = batch.length / ranks.size;
const own = batch.slice(ranks.rank * share, (ranks.rank + 1) * share);
const images = tensor(gpu, own.flat(), [share, 1, 2, 2]);
const classes = Uint32Array.from(own.flat(), (value) => Number(value > 5));
const labels = gpu.upload(classes, [share, 2, 2], "labels");

const norm = new BatchNorm2d(gpu, 1); // its statistics are those of the whole batch
const weight = tensor(gpu, [0.1, -0.1], [2, 1, 1, 1], { requiresGrad: true });
const parameters = new Map([...norm.namedParameters("norm"), ["weight", weight] as const]);
const optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 0 });

for (let step = 1; step <= 30; step++) {
  const loss = scope(() => {
    const logits = functional.conv2d(norm.forward(images), weight, null);
    // A mean over the own pixels, of which all have as many: the batch's mean is the sum of these shares.
    const loss = functional.scale(functional.crossEntropy(logits, labels), 1 / ranks.size);
    backward(loss);
    return loss;
  });
  optimiser.step(0.02); // by the sum of the gradients of all ranks
  optimiser.zeroGrad();
  if (step % 10 === 0) {
    const sum = await loss.read();
    await ranks.allReduce(sum, "sum"); // after a read, so that all ranks do the same in the same order
    if (ranks.rank === 0) console.log(`step ${step}: loss ${sum[0].toFixed(4)}`);
  }
  loss.dispose();
}
if (ranks.rank === 0) console.log(`${ranks.size} ranks, ${ranks.engine}`);

optimiser.dispose();
norm.dispose();
labels.release();
for (const tensor of [images, weight]) tensor.dispose();
gpu.close();
ranks.close();
