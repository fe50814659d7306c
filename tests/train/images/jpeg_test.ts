// JPEG files, against Pillow's decoder.

import assert from "node:assert/strict";
import { join } from "node:path";
import { openDataset } from "../../../train/data/dataset.ts";
import { FOLDER } from "../../../train/data/layouts.ts";
import { readImage, readImageSize } from "../../../train/images/image.ts";
import { decodeJpeg, loadJpegCodec, parseJpegHeader } from "../../../train/images/jpeg.ts";
import { Loader } from "../../../train/data/loader.ts";
import golden from "../../goldens/jpeg.json" with { type: "json" };
import { dataError, withFolder } from "../_folder.ts";
import { write } from "../_png.ts";
import { assertSame } from "../../_same.ts";

const { width, height } = golden;

/** The bytes of a golden file and its pixels. */
function take(name: keyof typeof golden.files): { file: Uint8Array; pixels: Uint8Array } {
  const bytes = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const { file, pixels } = golden.files[name];
  return { file: bytes(file), pixels: bytes(pixels) };
}

for (const name of Object.keys(golden.files) as (keyof typeof golden.files)[]) {
  if (name === "cmyk") continue;
  Deno.test(`a ${name} JPEG gives Pillow's pixels`, async () => {
    await loadJpegCodec();
    const { file, pixels } = take(name);
    const decoded = decodeJpeg(file, "a.jpg");
    assert.deepEqual([decoded.width, decoded.height], [width, height]);

    assertSame(decoded.data, pixels);
  });
}

Deno.test("a JPEG that is cut anywhere, damaged or of another kind is refused with its name", async () => {
  await loadJpegCodec();
  const { file } = take("progressive");
  for (let length = 2; length < file.length; length += 7) {
    assert.throws(() => decodeJpeg(file.subarray(0, length), "cut.jpg"), dataError("cut.jpg"));
  }
  const half = file.subarray(0, file.length >> 1);
  assert.throws(() => decodeJpeg(half, "cut.jpg"), dataError("cut.jpg as it is truncated"));
  const hole = file.slice();
  hole.fill(0xd9, hole.length - 60, hole.length - 30);
  hole.fill(0xff, hole.length - 40, hole.length - 30);
  assert.throws(() => decodeJpeg(hole, "hole.jpg"), dataError("hole.jpg as"));
  assert.throws(
    () => decodeJpeg(take("cmyk").file, "print.jpg"),
    dataError("print.jpg", "4 channels"),
  );
  assert.throws(() => decodeJpeg(new Uint8Array(0), "none.jpg"), dataError("it is empty"));
  assert.throws(
    () => decodeJpeg(Uint8Array.of(137, 80, 78, 71), "other.jpg"),
    dataError("does not start with the JPEG signature"),
  );
  const grey = take("grey"); // the codec still works after what it refused
  assertSame(decodeJpeg(grey.file, "a.jpg").data, grey.pixels);
});

Deno.test("bytes that a camera left between segments cost no pixel and are no damage", async () => {
  await loadJpegCodec();
  const { file, pixels } = take("baseline");
  const padded = new Uint8Array(file.length + 3);
  padded.set(file.subarray(0, -2));
  padded.set([1, 2, 3, 0xff, 0xd9], file.length - 2);
  assertSame(decodeJpeg(padded, "a.jpg").data, pixels);
});

Deno.test("an absurd size is refused from the header", () => {
  const { file } = take("grey");
  const huge = file.slice();
  const at = huge.findIndex((byte, i) => byte === 0xff && huge[i + 1] === 0xc0);
  huge.set([0xff, 0xff, 0xff, 0xff], at + 5);
  assert.throws(
    () => parseJpegHeader((from, count) => huge.subarray(from, from + count), "huge.jpg"),
    dataError("huge.jpg", "65535×65535"),
  );
});

Deno.test("a worker decodes JPEG files, and a truncated one fails by its name alone", () =>
  withFolder(async (root) => {
    const { file, pixels } = take("progressive");
    write(join(root, "images", "a.jpg"), file);
    write(join(root, "images", "b.JPEG"), file.subarray(0, file.length - 40));
    write(join(root, "images", "c.jpeg"), take("grey").file);
    assert.deepEqual(readImageSize(join(root, "images", "a.jpg")), { width, height, channels: 3 });
    const dataset = openDataset({ root, layout: FOLDER, split: "train", trainIds: null });
    using loader = new Loader({ dataset, order: "sequential" });
    const [first] = await loader.next(1);
    assertSame(first.image, { data: pixels, width, height });
    await assert.rejects(loader.next(1), dataError(join(root, "images", "b.JPEG"), "truncated"));
    const [third] = await loader.next(1);
    assertSame(third.image.data, take("grey").pixels);
    await loadJpegCodec();
    assertSame(readImage(join(root, "images", "a.jpg")).data, pixels);
  }));
