// The ONNX file in a runtime that knows nothing of this project.

import assert from "node:assert/strict";
// Here and nowhere else: the library and the program must not depend on it.
import { env, InferenceSession, Tensor as OrtTensor } from "npm:onnxruntime-web@1.30.0";
import { resizeBilinearForward } from "../../../kernels/resize.ts";
import { OnnxGraph } from "../../../nn/formats/onnx.ts";
import { DeepLab, type DeepLabOptions } from "../../../nn/deeplab.ts";
import { deepLabGraph } from "../../../nn/deeplab_onnx.ts";
import type { HostState } from "../../../nn/module.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { Tensor, tensor } from "../../../nn/tensor.ts";
import { testGpu } from "../../_device.ts";
import { Fill } from "../../goldens/fill.ts";
import { join } from "./_torch_files.ts";

env.wasm.numThreads = 1;

const open = (graph: OnnxGraph) =>
  InferenceSession.create(join(Array.from(graph.parts(), (part) => part.slice())), {
    executionProviders: ["wasm"],
  });

// The runtime keeps a message port for good: it starts here, before a test counts what is left
// open.
const identity = new OnnxGraph();
identity.output(identity.node("Identity", [identity.input("x", [1])]), [1]);
await open(identity);

const SMALL = { blocks: [2, 1, 1, 1], width: 4, classes: 5, dilations: [1, 2, 3] } as const;
const PRODA = { ...SMALL, headChannels: 12, groups: 3 } as const;

/** A network whose every weight and statistic matters, in evaluation mode. */
async function makeNetwork(options: DeepLabOptions): Promise<DeepLab> {
  const network = new DeepLab(await testGpu(), { ...options, init: "none" });
  const fill = new Fill("onnx");
  fill.module(network);
  for (const [name, array] of network.namedBuffers()) {
    const values = fill.signed(name, array.size);
    array.gpu.write(array, values.map((value) => (name.endsWith("var") ? 1 : 0) + value / 2));
  }
  return network.eval();
}

async function hostState(network: DeepLab): Promise<Map<string, HostState>> {
  const state = new Map<string, HostState>();
  for (const [name, array] of network.stateDict()) {
    const values = await array.read();
    state.set(name, { shape: array.shape, floats: () => values });
  }
  return state;
}

/** Our logits at the image's size. */
async function logitsOf(network: DeepLab, image: Float32Array, shape: readonly number[]) {
  const [, , height, width] = shape;
  using logits = noGrad(() =>
    scope(() => {
      const { logits } = network.forward(tensor(network.gpu, image, shape));
      return new Tensor(resizeBilinearForward(logits.array, { height, width }));
    })
  );
  return await logits.read();
}

async function compare(
  options: DeepLabOptions,
  size: { height: number; width: number } | undefined,
  shapes: readonly (readonly [number, 3, number, number])[],
): Promise<void> {
  using network = await makeNetwork(options);
  const state = await hostState(network);
  const session = await open(deepLabGraph({ network: options, state, size }));
  assert.deepEqual([session.inputNames, session.outputNames], [["image"], ["logits"]]);
  for (const shape of shapes) {
    const [images, , height, width] = shape;
    const image = new Fill("image").signed("pixels", images * 3 * height * width)
      .map((value) => value / 2 + 0.5);
    const { logits } = await session.run({ image: new OrtTensor("float32", image, shape) });
    assert.deepEqual([...logits.dims], [images, options.classes, height, width]);
    const ours = await logitsOf(network, image, shape);
    const theirs = logits.data as Float32Array;
    const scale = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    assert.ok(scale > 0.1, `the logits are no larger than ${scale}`);
    ours.forEach((value, index) => {
      const difference = Math.abs(value - theirs[index]) / scale;
      assert.ok(
        difference < 1e-4,
        `logit ${index} of ${shape}: ${value} here, ${theirs[index]} there`,
      );
    });
    assert.ok(ours.some((value) => Math.abs(value - ours[0]) > scale / 10), "the logits vary");
  }
  await session.release();
}

Deno.test("the ProDA network with a feature norm gives the same logits elsewhere, at any size", () =>
  compare({ ...PRODA, featureNorm: true }, undefined, [[1, 3, 33, 47], [2, 3, 40, 64], [
    1,
    3,
    50,
    18,
  ]]));

Deno.test("a ProDA network of a fixed size gives the same logits elsewhere", () =>
  compare(PRODA, { height: 37, width: 64 }, [[1, 3, 37, 64]]));

Deno.test("classic DeepLabv2 gives the same logits elsewhere", () =>
  compare({ ...SMALL, head: "classic" }, undefined, [[1, 3, 41, 57]]));

Deno.test("a missing weight is named before anything is written", async () => {
  using network = await makeNetwork(PRODA);
  const state = await hostState(network);
  state.delete("layer2.0.bn3.running_var");
  assert.throws(() => deepLabGraph({ network: PRODA, state }), {
    message: "Cannot write the network as ONNX as layer2.0.bn3.running_var is missing",
  });
});
