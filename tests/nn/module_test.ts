import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { type HostState, Module } from "../../nn/module.ts";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { saveState, stateOf } from "../../nn/formats/weights.ts";
import { testGpu } from "../_device.ts";

/** Two parameters and a buffer. */
class Leaf extends Module {
  readonly weight: Tensor;

  constructor(gpu: Gpu, size: number, value: number) {
    super();
    const filled = (offset: number) => new Float32Array(size).fill(value + offset);
    this.weight = this.parameter("weight", tensor(gpu, filled(0), [size], { requiresGrad: true }));
    this.parameter("bias", tensor(gpu, filled(1), [size], { requiresGrad: true }));
    this.buffer("running_mean", gpu.upload(filled(2), [size], "running mean"));
  }
}

/** A tree with a part whose names stand directly under it. */
class Tree extends Module {
  readonly leaf: Leaf;

  constructor(gpu: Gpu, value: number, size = 3) {
    super();
    this.leaf = this.child("", new Inner(gpu, value)).leaf;
    this.child("last", new Leaf(gpu, size, value + 10));
  }
}

class Inner extends Module {
  readonly leaf: Leaf;

  constructor(gpu: Gpu, value: number) {
    super();
    this.leaf = this.child("first", new Leaf(gpu, 2, value));
  }

  again(gpu: Gpu): void {
    this.child("first", new Leaf(gpu, 1, 0));
  }
}

async function valuesOf(module: Module): Promise<Record<string, number[]>> {
  const values: Record<string, number[]> = {};
  for (const [name, array] of module.stateDict()) values[name] = [...await array.read()];
  return values;
}

async function saved(module: Module): Promise<Safetensors> {
  const parts: Uint8Array[] = [];
  await saveState(module.stateDict(), (bytes) => void parts.push(bytes.slice()), { step: "7" });
  return new Safetensors(new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()));
}

Deno.test("a module lists parameters and buffers under their full names, in order", async () => {
  using tree = new Tree(await testGpu(), 1);
  assert.deepEqual([...tree.namedParameters().keys()], [
    "first.weight",
    "first.bias",
    "last.weight",
    "last.bias",
  ]);
  assert.deepEqual([...tree.namedParameters("net").keys()][0], "net.first.weight");
  assert.deepEqual([...tree.namedBuffers().keys()], ["first.running_mean", "last.running_mean"]);
  assert.equal(tree.parameterCount, 10);
  assert.deepEqual(await valuesOf(tree), {
    "first.weight": [1, 1],
    "first.bias": [2, 2],
    "first.running_mean": [3, 3],
    "last.weight": [11, 11, 11],
    "last.bias": [12, 12, 12],
    "last.running_mean": [13, 13, 13],
  });
});

Deno.test("train and eval reach every part", async () => {
  using tree = new Tree(await testGpu(), 1);
  assert.ok([...tree.namedModules()].every(([, { training }]) => training));
  assert.equal(tree.eval(), tree);
  assert.ok([...tree.namedModules()].every(([, { training }]) => !training));
  assert.equal(tree.train().leaf.training, true);
});

Deno.test("a name can be registered once only", async () => {
  const gpu = await testGpu();
  const inner = new Inner(gpu, 1);
  assert.throws(() => inner.again(gpu), RangeError);
  inner.dispose();
});

Deno.test("a state dict copies values between modules on the GPU", async () => {
  const gpu = await testGpu();
  using student = new Tree(gpu, 1);
  using teacher = new Tree(gpu, 5);
  const { loaded, missing, unexpected } = teacher.loadStateDict(student.stateDict());
  assert.deepEqual([loaded.length, missing, unexpected], [6, [], []]);
  assert.deepEqual(await valuesOf(teacher), await valuesOf(student));
});

Deno.test("a saved state dict comes back from its file, with metadata and without the rest", async () => {
  const gpu = await testGpu();
  using original = new Tree(gpu, 1.25);
  using copy = new Tree(gpu, 0);
  const file = await saved(original);
  assert.equal(file.metadata.get("step"), "7");
  assert.equal(copy.loadStateDict(stateOf(file)).loaded.length, 6);
  assert.deepEqual(await valuesOf(copy), await valuesOf(original));
  // A part by prefix, as a checkpoint holds several networks.
  using leaf = new Leaf(gpu, 3, 0);
  leaf.loadStateDict(stateOf(file, "last."));
  assert.deepEqual((await valuesOf(leaf)).weight, [11.25, 11.25, 11.25]);
});

Deno.test("num_batches_tracked is passed over", async () => {
  const gpu = await testGpu();
  using tree = new Tree(gpu, 1);
  const counter = { shape: [], floats: () => assert.fail("the counter was read") };
  const source = new Map<string, GpuArray | HostState>(tree.stateDict());
  source.set("first.num_batches_tracked", counter);
  assert.deepEqual(tree.loadStateDict(source).unexpected, []);
});

Deno.test("a state dict that does not fit is refused whole, and the error says why", async () => {
  const gpu = await testGpu();
  using tree = new Tree(gpu, 1);
  using other = new Tree(gpu, 5, 4);
  const source = new Map(other.stateDict());
  const extra = source.get("first.bias");
  assert.ok(extra && source.delete("first.bias"));
  source.set("fc.weight", extra);
  const before = await valuesOf(tree);
  assert.throws(() => tree.loadStateDict(source, { from: 'the checkpoint "a.safetensors"' }), {
    name: "TypeError",
    message: 'Cannot load the checkpoint "a.safetensors" into the network as it has 3 arrays of ' +
      "another shape: last.weight is [4], the network's [3], last.bias is [4], the network's " +
      "[3], last.running_mean is [4], the network's [3]; 1 array missing: first.bias; 1 array " +
      "unexpected: fc.weight",
  });
  assert.deepEqual(await valuesOf(tree), before);

  const report = tree.loadStateDict(source, { strict: false });
  assert.deepEqual(report.loaded, ["first.weight", "first.running_mean"]);
  assert.deepEqual(report.missing, ["first.bias"]);
  assert.deepEqual(report.unexpected, ["fc.weight"]);
  assert.deepEqual(report.misshaped.map(({ name }) => name), [
    "last.weight",
    "last.bias",
    "last.running_mean",
  ]);
  assert.deepEqual((await valuesOf(tree))["first.weight"], [5, 5]);
  assert.deepEqual((await valuesOf(tree))["last.weight"], [11, 11, 11]);
});

Deno.test("dispose gives every byte back", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const tree = new Tree(gpu, 1);
  tree.leaf.weight.grad = gpu.zeros([2], "gradient");
  assert.ok(gpu.memory.live > before);
  tree.dispose();
  assert.equal(gpu.memory.live, before);
});
