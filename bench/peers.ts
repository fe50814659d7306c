// The same convolutions and matrix products here, in TensorFlow.js and in jax-js, on one adapter in one run:
// `deno task bench:peers`. Everyone takes turns, so that a busy machine is busy for all.
//
// The peers are loaded by name at run time: neither the library nor its lock file knows them. Their
// numbers are wall time of several launches and one wait for the GPU, as ours are.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../kernels/dense/conv2d.ts";
import { conv2dFlops, conv2dSizes } from "../kernels/dense/conv2d_shape.ts";
import { conv2dParameterGradients } from "../kernels/dense/conv2d_weight.ts";
import { matmul } from "../kernels/dense/matmul.ts";
import { type GpuArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import { seededRandom } from "../tests/_check.ts";
import { type ConvolutionShape, SHAPES } from "./_shapes.ts";

const TENSORFLOW = "@tensorflow/tfjs@4.22.0"; // with the gradients, which the core leaves out
const TENSORFLOW_WEBGPU = "@tensorflow/tfjs-backend-webgpu@4.22.0";
const JAX = "@jax-js/jax@0.1.25";
const ROUNDS = 7;
/** Launches of one round: enough that the wait's own ten milliseconds do not count. */
const LAUNCHES = 5;

// deno-lint-ignore no-explicit-any -- the peers' types are not ours to install
type Peer = any;
const load = (name: string): Promise<Peer> => import(`npm:${name}`);

/** One thing to compute: `launch` enqueues it, `finish` waits for all of it, `numbers` shows one result. */
interface Contender {
  readonly launch: () => void;
  readonly finish: () => Promise<unknown>;
  /** The output, in the layout of the contender; a norm of it must agree with ours. */
  readonly output: () => Promise<ArrayLike<number>>;
}

interface Task {
  readonly name: string;
  readonly flops: number;
  /** A contender, or why there is none. */
  readonly contenders: Readonly<Record<"here" | "tfjs" | "jax", Contender | string>>;
}

const gpu = await openGpu();
const tf = await load(TENSORFLOW);
await load(TENSORFLOW_WEBGPU);
await tf.setBackend("webgpu");
await tf.ready();
const jax = await load(JAX);
await jax.init("webgpu");
jax.defaultDevice("webgpu");
const np = jax.numpy;

/** Numbers of a shape, the same for all. */
function draw(shape: Shape, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() - 0.5);
}

const jaxArray = (data: Float32Array, shape: Shape) => np.array(data).reshape([...shape]);

/** Forward alone, and forward with both gradients. */
function convolutionTasks({ name, x, outputs, kernel, geometry }: ConvolutionShape): Task[] {
  const { stride, padding, dilation } = geometry;
  const weightShape = [outputs, x[1], kernel, kernel];
  const sizes = conv2dSizes(x, weightShape, geometry);
  const outputShape = [x[0], outputs, sizes.outHeight, sizes.outWidth];
  const [input, weight, cotangent] = [draw(x, 1), draw(weightShape, 2), draw(outputShape, 3)];
  const flops = conv2dFlops(sizes);

  const [a, w, g] = [
    gpu.upload(input, x, "input"),
    gpu.upload(weight, weightShape, "weight"),
    gpu.upload(cotangent, outputShape, "cotangent"),
  ];
  // A training step packs its weights and inputs afresh: nothing is kept from launch to launch.
  const forget = () => [a, w, g].forEach((array) => gpu.pool.dropDerived(array.storage));
  const forward = () => {
    forget();
    return conv2dForward(a, w, null, geometry);
  };
  const step = () => {
    forward().release();
    conv2dInputGradient(g, w, x, geometry).release();
    const needs = { weight: true, bias: false };
    return conv2dParameterGradients(g, a, weightShape, geometry, needs).weight as GpuArray;
  };
  const here = (run: () => GpuArray): Contender => ({
    launch: () => run().release(),
    finish: () => gpu.finish(),
    output: async () => {
      const array = run();
      const data = await array.read();
      array.release();
      return data;
    },
  });

  // TensorFlow.js on WebGPU has convolutions in NHWC only.
  const nhwc = (data: Float32Array, shape: Shape) =>
    tf.transpose(tf.tensor4d(data, [...shape]), [0, 2, 3, 1]);
  const [ta, tg] = [nhwc(input, x), nhwc(cotangent, outputShape)];
  const tw = tf.transpose(tf.tensor4d(weight, weightShape), [2, 3, 1, 0]);
  const tfForward = (x: Peer, w: Peer) => tf.conv2d(x, w, stride, padding, "NHWC", dilation);
  let last: Peer = null;
  const tensorflow = (run: () => Peer): Contender => ({
    launch: () => {
      last?.dispose();
      last = tf.tidy(run);
    },
    finish: () => tf.slice(last, [0, 0, 0, 0], [1, 1, 1, 1]).data(),
    output: () => tf.tidy(run).data(),
  });
  const tfStep = () => tf.grads(tfForward)([ta, tw], tg)[1];

  const [ja, jw, jg] = [
    jaxArray(input, x),
    jaxArray(weight, weightShape),
    jaxArray(cotangent, outputShape),
  ];
  const jaxConv = (x: Peer, w: Peer) =>
    jax.lax.convGeneralDilated(x, w, [stride, stride], [[padding, padding], [padding, padding]], {
      rhsDilation: [dilation, dilation],
    });
  const jitForward = jax.jit(jaxConv);
  const jitStep = jax.jit((x: Peer, w: Peer, g: Peer) => {
    const [y, back] = jax.vjp(jaxConv, [x, w]);
    const [ofInput, ofWeight] = back(g);
    return [y, ofInput, ofWeight];
  });
  const jaxContender = (run: () => Peer): Contender => {
    // It computes lazily: what is disposed before it was needed is never run.
    let results: Peer[] = [];
    return {
      launch: () => {
        results.push(run());
      },
      finish: async () => {
        await jax.blockUntilReady(results);
        jax.tree.dispose(results);
        results = [];
      },
      output: () => {
        const result = run();
        return (Array.isArray(result) ? result[2] : result).data();
      },
    };
  };
  return [
    {
      name: `${name} forward`,
      flops,
      contenders: {
        here: here(forward),
        tfjs: tensorflow(() => tfForward(ta, tw)),
        jax: jaxContender(() => jitForward(ja.ref, jw.ref)),
      },
    },
    {
      name: `${name} training step`,
      flops: 3 * flops,
      contenders: {
        here: here(step),
        tfjs: dilation > 1 ? "refuses dilated gradients" : tensorflow(tfStep),
        jax: jaxContender(() => jitStep(ja.ref, jw.ref, jg.ref)),
      },
    },
  ];
}

function matmulTask(size: number): Task {
  const shape = [size, size];
  const [left, right] = [draw(shape, 1), draw(shape, 2)];
  const [a, b] = [gpu.upload(left, shape, "a"), gpu.upload(right, shape, "b")];
  const [ta, tb] = [tf.tensor2d(left, shape), tf.tensor2d(right, shape)];
  const [ja, jb] = [jaxArray(left, shape), jaxArray(right, shape)];
  const multiply = jax.jit((a: Peer, b: Peer) => np.matmul(a, b));
  let lastOfTf: Peer = null;
  let products: Peer[] = [];
  return {
    name: `matmul ${size}`,
    flops: 2 * size ** 3,
    contenders: {
      here: {
        launch: () => matmul(a, b).release(),
        finish: () => gpu.finish(),
        output: async () => {
          using product = matmul(a, b);
          return await product.read();
        },
      },
      tfjs: {
        launch: () => {
          lastOfTf?.dispose();
          lastOfTf = tf.matMul(ta, tb);
        },
        finish: () => tf.slice(lastOfTf, [0, 0], [1, 1]).data(),
        output: () => tf.matMul(ta, tb).data(),
      },
      jax: {
        launch: () => {
          products.push(multiply(ja.ref, jb.ref));
        },
        finish: async () => {
          await jax.blockUntilReady(products);
          jax.tree.dispose(products);
          products = [];
        },
        output: () => multiply(ja.ref, jb.ref).data(),
      },
    },
  };
}

const norm = (values: ArrayLike<number>) =>
  Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));

/**
 * Checks every contender against ours, then times them in turns: medians, in milliseconds a launch, or
 * why there are none.
 */
async function measure({ name, contenders }: Task): Promise<Record<string, number | string>> {
  const results: Record<string, number | string> = {};
  const running: [who: string, contender: Contender, times: number[]][] = [];
  let expected = NaN;
  for (const [who, contender] of Object.entries(contenders)) {
    if (typeof contender === "string") {
      results[who] = contender;
      continue;
    }
    const found = norm(await contender.output());
    if (who === "here") expected = found;
    if (!(Math.abs(found / expected - 1) < 1e-3)) {
      results[who] = `another result: norm ${found.toFixed(1)}, not ${expected.toFixed(1)}`;
      continue;
    }
    running.push([who, contender, []]);
    contender.launch();
    await contender.finish();
  }
  assert.ok(running.length > 1, `${name}: no peer has our result`);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [, contender, times] of running) {
      const started = performance.now();
      for (let launch = 0; launch < LAUNCHES; launch++) contender.launch();
      await contender.finish();
      times.push((performance.now() - started) / LAUNCHES);
    }
  }
  for (const [who, , times] of running) {
    results[who] = times.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN;
  }
  return results;
}

const tasks = [...SHAPES.slice(0, 4).flatMap(convolutionTasks), matmulTask(1024)];
console.log(
  `${gpu.adapter.description}; medians of ${ROUNDS} rounds of ${LAUNCHES} launches, in turns\n`,
);
console.log(
  `| operation | here, ms | GFLOP/s | ${TENSORFLOW_WEBGPU}, ms | ratio | ${JAX}, ms | ratio |`,
);
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const task of tasks) {
  const { here, tfjs, jax } = await measure(task);
  const cells = (other: number | string | undefined) =>
    typeof other === "number"
      ? `${other.toFixed(1)} | ${(other / Number(here)).toFixed(1)}×`
      : `${other} | –`;
  const rate = task.flops / Number(here) / 1e6;
  console.log(
    `| ${task.name} | ${Number(here).toFixed(1)} | ${rate.toFixed(1)} | ${cells(tfjs)} | ${
      cells(jax)
    } |`,
  );
}
gpu.close();
Deno.exit(0); // the peers keep their devices open
