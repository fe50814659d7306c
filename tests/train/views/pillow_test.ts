// The operations of RandAugment against Pillow.

import assert from "node:assert/strict";
import type { RgbImage } from "../../../train/images/rgb.ts";
import { changeColours } from "../../../train/views/pixel_operations.ts";
import {
  operationsOf,
  type RANDAUGMENT_POOL,
  RandAugmentView,
} from "../../../train/views/randaugment.ts";
import { Fill } from "../../goldens/fill.ts";
import { readGolden } from "../../goldens/golden.ts";
import { assertSame } from "../../_same.ts";
import { sha256 } from "../../_digest.ts";

/** Name, strength in tenths, and pixels in base64 or a digest. */
type Case = readonly [name: (typeof RANDAUGMENT_POOL)[number], tenths: number, pixels: string];

const golden = readGolden<{
  width: number;
  height: number;
  colours: Case[];
  places: Case[];
  digests: Case[];
  everyAutoContrast: string;
}>("pillow");

/** What the golden's noise is, too. */
function noise(width: number, height: number): RgbImage {
  const values = new Fill("pillow").integers("image", 3 * width * height);
  const ranges = [[40, 160], [10, 240], [90, 60]] as const;
  const data = Uint8Array.from(values, (value, index) => {
    const [least, count] = ranges[index % 3 as 0 | 1 | 2];
    return least + (value >>> 8) % count;
  });
  return { data, width, height };
}

/** Without its cutout, which lies outside. */
function render(image: RgbImage, [name, tenths]: Case): Uint8Array {
  const operations = operationsOf(name, tenths, -1, image);
  const nowhere = { left: image.width, top: image.height, width: 1, height: 1 };
  return new RandAugmentView(image, operations, nowhere).render(image).data;
}

function decoded(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

const small = noise(golden.width, golden.height);

for (const test of golden.colours) {
  const [name, , pixels] = test;
  Deno.test(`${name} makes Pillow's bytes at every strength`, async () => {
    assertSame(render(small, test), decoded(pixels));
    const large = noise(256, 192);
    for (const test of golden.digests.filter(([other]) => other === name)) {
      assert.equal(
        await sha256(render(large, test)),
        test[2],
        `at a strength of ${test[1]} tenths`,
      );
    }
  });
}

for (const test of golden.places) {
  const [name, tenths, pixels] = test;
  Deno.test(`${name} at ${tenths} tenths moves pixels where Pillow does, which truncates values`, () => {
    const found = render(small, test);
    const expected = decoded(pixels);
    let [filled, different] = [0, 0];
    for (const [index, value] of found.entries()) {
      const wanted = expected[index] as number;
      assert.ok(value === wanted || value === wanted + 1, `byte ${index} is ${value}, ${wanted}`);
      if (value !== wanted) different++;
      if (wanted === 127) filled++;
    }
    assert.ok(filled > 30, `${filled} bytes are unseen`);
    if (name.startsWith("translate")) assert.equal(different, 0);
  });
}

Deno.test("an automatic contrast rounds as Pillow does from every value to every other", async () => {
  const images: Uint8Array[] = [];
  for (let least = 0; least < 256; least++) {
    for (let most = least + 1; most < 256; most++) {
      const ramp = Array.from({ length: most - least + 1 }, (_, i) => [least + i, 0, 0]).flat();
      const image = { data: Uint8Array.from(ramp), width: most - least + 1, height: 1 };
      const { data } = changeColours(image, { kind: "autoContrast" });
      images.push(data.filter((_, i) => i % 3 === 0));
    }
  }
  assert.equal(await sha256(...images), golden.everyAutoContrast);
});

Deno.test("colours of one value, and images of one row, stay as in Pillow", () => {
  const flat = { data: new Uint8Array(3 * 20).fill(77), width: 10, height: 2 };
  for (const kind of ["autoContrast", "equalize"] as const) {
    assert.deepEqual(changeColours(flat, { kind }), flat);
  }
  const row = noise(30, 1);
  assert.deepEqual(changeColours(row, { kind: "sharpness", factor: 0.3 }), row);
});
