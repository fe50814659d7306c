// Labels that are no class are found where they are uploaded: on the GPU they count for nothing.

import assert from "node:assert/strict";
import { uploadLabels } from "../../kernels/labels.ts";
import { packLabels } from "../../kernels/warp.ts";
import { testGpu } from "../_device.ts";

Deno.test("labels are uploaded as they are, whichever their bytes", async () => {
  const gpu = await testGpu();
  const ids = [0, 2, 255, 1];
  for (const data of [Uint8Array.from(ids), Uint32Array.from(ids)]) {
    using labels = uploadLabels(gpu, data, [1, 2, 2], { classes: 3 });
    assert.deepEqual([...await labels.read()], ids);
    assert.deepEqual([labels.dtype, labels.shape], ["u32", [1, 2, 2]]);
  }
});

Deno.test("a label that is no class is refused with its place", async () => {
  const gpu = await testGpu();
  const upload = (id: number, ignoreLabel?: number) => {
    const range = { classes: 3, ...(ignoreLabel === undefined ? {} : { ignoreLabel }) };
    uploadLabels(gpu, Uint32Array.of(0, 2, id, 1), [1, 2, 2], range).release();
  };
  for (const id of [3, 254, 256, 4_000_000_000]) {
    assert.throws(() => upload(id), {
      name: "RangeError",
      message:
        `Cannot upload "labels" as pixel 2 has label ${id}: expected a class below 3, or 255 ` +
        "where no class counts",
    });
  }
  assert.throws(() => upload(255, 7), /label 255: expected a class below 3, or 7 where/);
  upload(7, 7);
});

Deno.test("packed labels are checked where their classes are known", async () => {
  const gpu = await testGpu();
  const maps = [[0, 1, 255], [1, 2, 0]].map((ids) => ({
    data: Uint8Array.from(ids),
    height: 1,
    width: 3,
  }));
  for (const range of [undefined, { classes: 3 }]) packLabels(gpu, maps, range).release();
  assert.throws(() => packLabels(gpu, maps, { classes: 2 }), {
    name: "RangeError",
    message: /^Cannot upload "label map 1" as pixel 1 has label 2: expected a class below 2/,
  });
});
