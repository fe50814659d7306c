import { strict as assert } from "node:assert";
import {
  defineKernel,
  dispatch,
  type Gpu,
  GpuError,
  gridFor,
  MemoryError,
  openGpu,
  sliceByImage,
  wgslConstants,
} from "../../../kernels/runtime/mod.ts";
import { addInPlace, scaleForward } from "../../../kernels/elementwise.ts";
import { sizeClass } from "../../../kernels/runtime/pool.ts";
import { narrowGpu, testGpu } from "../../_device.ts";

const FILE = "double.wgsl";
const SOURCE = `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> label_map: array<u32>;
struct Params { count: u32, factor: f32, shift: i32 }
@group(1) @binding(0) var<uniform> params: Params;
override WORKGROUP_SIZE: u32 = 64;
@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WORKGROUP_SIZE + local;
  if (i < params.count) { y[i] = x[i] * params.factor + f32(params.shift); }
}
@compute @workgroup_size(64) fn overrun() { y[params.count] = 1; }
@compute @workgroup_size(64) fn labels() { y[0] = f32(label_map[0]); }
@group(0) @binding(3) var<storage, read_write> z: array<f32>;
@compute @workgroup_size(1) fn both() { y[0] = 1; z[0] = 2; }
`;
const PARAMS = { count: "u32", factor: "f32", shift: "i32" } as const;
const common = { file: FILE, source: SOURCE, params: PARAMS };
const double = defineKernel({
  ...common,
  name: "double.forward",
  entry: "forward",
  reads: ["x"],
  writes: ["y"],
});

async function withGpu(
  options: Parameters<typeof openGpu>[0],
  use: (gpu: Gpu) => Promise<void> | void,
): Promise<void> {
  const gpu = await openGpu(options);
  try {
    await use(gpu);
  } finally {
    gpu.close();
  }
}

Deno.test("a kernel receives its arrays and every kind of parameter", async () => {
  const gpu = await testGpu();
  using x = gpu.upload(new Float32Array([1, 2, 3]), [3], "x");
  using y = gpu.empty([3], "y");
  dispatch(double, { x, y }, { count: 3, factor: 0.5, shift: -4 }, 3);
  assert.deepEqual(await y.read(), new Float32Array([-3.5, -3, -2.5]));
});

Deno.test("a grid beyond 65,535 workgroups is folded", async () => {
  assert.deepEqual(gridFor(65535 * 64, 64), [65535, 1, 1]);
  assert.deepEqual(gridFor(65536 * 64, 64), [32768, 2, 1]);
  const gpu = await testGpu();
  const small = defineKernel({
    ...common,
    name: "double.small",
    entry: "forward",
    reads: ["x"],
    writes: ["y"],
    constants: { WORKGROUP_SIZE: 8 },
  });
  const count = 65536 * 8 + 3;
  using x = gpu.upload(new Float32Array(count).fill(2), [count], "x");
  using y = gpu.zeros([count], "y");
  assert.deepEqual([double.workgroupSize, small.workgroupSize], [64, 8]);
  dispatch(small, { x, y }, { count, factor: 3, shift: 0 }, count);
  assert.ok((await y.read()).every((value) => value === 6));
});

Deno.test("a definition that disagrees with its WGSL is refused", () => {
  const define = (change: object) => () =>
    defineKernel({
      ...common,
      name: "k",
      entry: "forward",
      reads: ["x"],
      writes: ["y"],
      ...change,
    });
  assert.throws(define({ reads: ["weight"] }), /binds no array "weight": it binds x, y, label_map/);
  assert.throws(define({ writes: ["x"] }), /"x" is read-only in double.wgsl/);
  assert.throws(
    define({ params: { count: "u32" } }),
    /stated "count: u32", found "count: u32, factor: f32, shift: i32"/,
  );
  assert.throws(
    define({ constants: { TILE: 8 } }),
    /Cannot give a value to TILE as double.wgsl has no such override: it has WORKGROUP_SIZE/,
  );
  assert.throws(define({ entry: "backward" }), /"backward" as double.wgsl has none such/);
  assert.throws(
    define({ source: SOURCE.replace("size(WORKGROUP_SIZE)", "size(TILE)") }),
    /the workgroup size "TILE" in double.wgsl must consist of numbers and of constants/,
  );
});

Deno.test("what launchers share with WGSL is read from it, and what it lacks is refused", () => {
  const source = `
const ROWS = 4u; // rows, not const ROWS = 5u;
override COLUMNS: u32 = 2 * ROWS;
override TILE = ROWS * COLUMNS;
const SHARE = 0.5;
fn first() { const ROWS = 6u; }
  `;
  const file = "tile.wgsl";
  assert.deepEqual(wgslConstants({ file, source }, "ROWS", "TILE"), { ROWS: 4, TILE: 32 });
  const constants = { COLUMNS: 3 };
  assert.deepEqual(wgslConstants({ file, source, constants }, "TILE"), { TILE: 12 });
  for (const name of ["SHARE", "DEPTH"]) {
    assert.throws(
      () => wgslConstants({ file, source }, name),
      new RegExp(
        `Cannot read the constant ${name} as tile.wgsl .* it has ROWS, COLUMNS, TILE`,
      ),
    );
  }
});

Deno.test("a dispatch refuses wrong types, foreign arrays and shared written buffers", async () => {
  const gpu = await testGpu();
  using x = gpu.zeros([4], "x");
  using y = gpu.zeros([4], "y");
  using labels = gpu.zeros([4], "labels", "u32");
  const params = { count: 4, factor: 1, shift: 0 };
  const byLabel = defineKernel({
    ...common,
    name: "by label",
    entry: "labels",
    reads: ["labelMap"],
    writes: ["y"],
  });
  assert.throws(
    () => dispatch(byLabel, { labelMap: x, y }, params, [1]),
    /"labelMap" is f32, not u32/,
  );
  assert.throws(() => dispatch(double, { x: labels, y }, params, [1]), /"x" is u32, not f32/);
  assert.throws(() => dispatch(double, { x, y: x }, params, [1]), /"y" and "x" share a buffer/);
  assert.throws(() => dispatch(double, { x, y }, params, [70000]), /exceeds 65535/);
});

Deno.test("a kernel writes two arrays of one buffer where they are apart", async () => {
  const gpu = await testGpu();
  const both = defineKernel({
    ...common,
    name: "both",
    entry: "both",
    reads: [],
    writes: ["y", "z"],
  });
  const params = { count: 0, factor: 0, shift: 0 };
  const row = gpu.offsetAlignment / 4;
  using all = gpu.zeros([2, row], "all");
  using y = all.slice(0, 1);
  using z = all.slice(1, 1);
  dispatch(both, { y, z }, params, [1]);
  const found = await all.read();
  assert.deepEqual([found[0], found[row]], [1, 2]);
  assert.throws(
    () => dispatch(both, { y: all, z }, params, [1]),
    /"y" and "z" share a buffer that it writes/,
  );
});

Deno.test("released arrays throw when they are used, and views keep memory alive", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const x = gpu.upload(new Float32Array([1, 2, 3, 4]), [2, 2], "x");
  const row = x.slice(1, 1);
  x.release();
  assert.throws(() => x.view([4]), /Cannot use the array "x" after it was released/);
  assert.throws(() => x.release(), /after it was released/);
  assert.deepEqual(await row.read(), new Float32Array([3, 4]));
  row.release();
  assert.equal(gpu.memory.live, before);
});

Deno.test("memory is reused by size class and counted", async () => {
  for (const bytes of [1, 256, 257, 100_000]) assert.ok(sizeClass(bytes) >= bytes);
  await withGpu({}, (gpu) => {
    const a = gpu.empty([1000], "a");
    const { id } = a.storage;
    a.release();
    const b = gpu.empty([990], "b");
    assert.equal(b.storage.id, id);
    assert.equal(gpu.memory.live, sizeClass(4000));
    assert.equal(gpu.memory.peak, sizeClass(4000));
    b.release();
    assert.equal(gpu.memory.free, sizeClass(4000));
    gpu.pool.trim();
    assert.equal(gpu.memory.free, 0);
  });
});

Deno.test("the memory budget is kept, and its error names tensor, bytes and budget", async () => {
  await withGpu({ memoryBudget: 1 << 20 }, (gpu) => {
    const half = gpu.empty([100_000], "first");
    assert.throws(
      () => gpu.empty([200_000], "activations"),
      /Cannot allocate 781 KiB for "activations" as the memory budget is 1 MiB/,
    );
    half.release(); // free memory of another size class makes room
    gpu.empty([200_000], "activations").release();
  });
});

Deno.test("a kernel that does not compile is reported with file, line, column and source", async () => {
  await withGpu({}, async (gpu) => {
    const broken = defineKernel({
      ...common,
      source: SOURCE.replace("x[i]", "x[j]"),
      name: "broken.forward",
      entry: "forward",
      reads: ["x"],
      writes: ["y"],
    });
    using x = gpu.zeros([3], "x");
    using y = gpu.zeros([3], "y");
    dispatch(broken, { x, y }, { count: 3, factor: 1, shift: 0 }, [1]);
    await assert.rejects(
      y.read(),
      /Cannot build broken.forward:\ndouble.wgsl:12:\d+: [^]*y\[i\] = x\[j\]/,
    );
    assert.throws(() => gpu.flush(), /Cannot build broken.forward/);
  });
});

Deno.test("an uncaptured GPU error is thrown at the next host call", async () => {
  await withGpu({}, async (gpu) => {
    gpu.device.createBuffer({ size: 16, usage: 0x8000 });
    await assert.rejects(gpu.finish(), /The GPU reported an error/);
  });
});

Deno.test("a lost device is an error at the next host call", async () => {
  const gpu = await openGpu();
  gpu.device.destroy();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.throws(() => gpu.flush(), /The GPU device was lost \(destroyed\)/);
});

Deno.test("failures that a caller may handle have classes of their own", async () => {
  await withGpu({ memoryBudget: 1 << 20, maxBindingBytes: 1024 }, async (gpu) => {
    const { maxBufferSize } = gpu.device.limits;
    using wide = gpu.zeros([2, 300], "wide");
    const tooMuch = [
      [() => gpu.empty([1 << 19], "a"), /are in use: use smaller batches .* raise `memoryBudget`$/],
      [
        () => gpu.empty([Math.ceil(maxBufferSize / 4) + 1], "b"),
        /holds at most .*: use smaller batches/,
      ],
      [() => sliceByImage([wide], [], () => {}), /binds at most 1 KiB: use a smaller crop/],
      [
        () => dispatch(double, { x: wide, y: wide }, { count: 1, factor: 1, shift: 0 }, 1),
        /a binding shows at most 1 KiB/,
      ],
    ] as const;
    for (const [run, message] of tooMuch) {
      assert.throws(run, { name: "MemoryError", message });
      assert.throws(run, MemoryError);
      assert.throws(run, RangeError);
    }
    gpu.device.createBuffer({ size: 16, usage: 0x8000 });
    await assert.rejects(gpu.finish(), { name: "GpuError" });
    await assert.rejects(gpu.finish(), GpuError);
  });
});

Deno.test("sentinels show a write past the end of an array", async () => {
  await withGpu({ guardBytes: 256 }, async (gpu) => {
    const overrun = defineKernel({
      ...common,
      name: "overrun",
      entry: "overrun",
      reads: [],
      writes: ["y"],
    });
    using y = gpu.zeros([3], "y");
    assert.deepEqual(await y.read(), new Float32Array(3));
    dispatch(overrun, { y }, { count: 3, factor: 0, shift: 0 }, [1]);
    await assert.rejects(y.read(), /A kernel wrote past the end of "y"/);
  });
});

Deno.test("sliceByImage() covers every row once, aligned or not", async () => {
  for (const width of [64, 65, 7]) {
    const gpu = await narrowGpu(1024);
    const rows = 11;
    const numbers = Float32Array.from({ length: rows * width }, (_, i) => i);
    using x = gpu.upload(numbers, [rows, width], "x");
    using y = gpu.zeros([rows, width], "y");
    let calls = 0;
    sliceByImage([x], [y], ([x], [y]) => {
      calls++;
      dispatch(double, { x, y }, { count: x.size, factor: 2, shift: 1 }, gridFor(x.size, 64));
    });
    assert.equal(calls > 1, rows * width * 4 > 1024);
    assert.deepEqual(await y.read(), numbers.map((value) => value * 2 + 1));
  }
});

Deno.test("sliceByImage() says so when one image is too large", async () => {
  const gpu = await narrowGpu(1024);
  using x = gpu.zeros([2, 300], "wide");
  assert.throws(
    () => sliceByImage([x], [], () => {}),
    /Cannot split "wide" as one image of it takes 1.17 KiB/,
  );
});

Deno.test("80,000 different bind groups do not end the process", async () => {
  await withGpu({}, async (gpu) => {
    using x = gpu.upload(new Float32Array(64), [64], "x");
    using y = gpu.zeros([80_064], "y");
    const step = gpu.offsetAlignment / 4;
    const params = { count: 1, factor: 1, shift: 1 };
    for (let i = 0; i < 80_000; i++) {
      using part = y.slice(Math.floor(i / 100) * step % 79_872, 1 + i % 100);
      dispatch(double, { x, y: part }, params, [1]);
    }
    assert.ok(gpu.queue.bindGroups.count <= 8192);
    assert.equal((await y.read())[0], 1);
  });
});

Deno.test("profiling names every kernel with calls, time and share", async () => {
  await withGpu({ profile: true }, async (gpu) => {
    using x = gpu.zeros([4096], "x");
    using y = gpu.zeros([4096], "y");
    for (let i = 0; i < 600; i++) {
      dispatch(double, { x, y }, { count: 4096, factor: 1, shift: 0 }, gridFor(4096, 64), {
        flops: 8192,
      });
    }
    await gpu.finish();
    const [kernel, ...others] = await gpu.profiler!.report();
    assert.equal(others.length, 0);
    assert.equal(kernel?.label, "double.forward");
    assert.equal(kernel?.calls, 600);
    assert.equal(kernel?.share, 1);
    assert.ok(kernel!.milliseconds > 0 && kernel!.gigaflops > 0 && kernel!.gigabytes > 0);
  });
});

Deno.test("what is derived from an array is kept until the array changes", async () => {
  const gpu = await testGpu();
  const before = gpu.memory;
  let made = 0;
  const array = gpu.upload(new Float32Array([1, 2]), [2], "array");
  const doubled = (of = array) => {
    using derived = of.derived("doubled", () => {
      made++;
      return scaleForward(of, 2);
    });
    return derived.read();
  };
  assert.deepEqual([...await doubled()], [2, 4]);
  assert.deepEqual([...await doubled()], [2, 4]);
  assert.equal(made, 1, "computed once");
  assert.equal(gpu.memory.derived - before.derived, sizeClass(8));
  const other = gpu.upload(new Float32Array([5, 6]), [2], "other");
  for (
    const [change, expected] of [
      [() => gpu.write(array, new Float32Array([3, 4])), [6, 8]],
      [() => addInPlace(array, other), [16, 20]],
      [() => gpu.copy(other, array), [10, 12]],
      [() => gpu.clear(array), [0, 0]],
    ] as const
  ) {
    const count: number = made;
    change();
    assert.equal(gpu.memory.derived, before.derived, "dropped by the change");
    assert.deepEqual([...await doubled()], expected);
    assert.equal(made, count + 1, "computed again");
  }
  array.release();
  other.release();
  assert.equal(gpu.memory.derived, before.derived);
  assert.equal(gpu.memory.live, before.live);
});
