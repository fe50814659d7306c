import { pixelShare } from "../../kernels/pixel_share.ts";
import type { AnyArray } from "../../kernels/runtime/mod.ts";
import { assertAllClose, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu } from "../_device.ts";

const [IMAGES, HEIGHT, WIDTH] = [6, 7, 19] as const;
const PLANE = HEIGHT * WIDTH;

/** The share of images `first` to `first + count` in what counts, in doubles. */
function reference(counts: (index: number) => boolean, first: number, count: number): number {
  let [inside, all] = [0, 0];
  for (let index = 0; index < IMAGES * PLANE; index++) {
    if (!counts(index)) continue;
    all++;
    const image = Math.floor(index / PLANE);
    if (image >= first && image < first + count) inside++;
  }
  return all === 0 ? 0 : inside / all;
}

async function shareOf(...args: Parameters<typeof pixelShare>): Promise<number> {
  using share = pixelShare(...args);
  return (await share.read())[0] as number;
}

for (const [name, open] of [["whole", guardedGpu], ["split", () => narrowGpu(1024)]] as const) {
  Deno.test(`shares of labels and of masks are those of the f64 twin (${name})`, async () => {
    const gpu = await open();
    const random = seededRandom(7);
    // The later the image, the fewer pixels count.
    const labels = Uint32Array.from(
      { length: IMAGES * PLANE },
      (_, index) =>
        random() < index / (IMAGES * PLANE) ? [255, 9, 3][index % 3] as number : index % 5,
    );
    const isLabel = (index: number) => (labels[index] as number) < 5 && labels[index] !== 3;
    const mask = Float32Array.from(labels, (label) => label < 5 ? 0.25 : 0);
    using labelArray: AnyArray = gpu.upload(labels, [IMAGES, HEIGHT, WIDTH], "labels");
    using maskArray: AnyArray = gpu.upload(mask, [IMAGES, HEIGHT, WIDTH], "mask");
    for (const [first, count] of [[0, 6], [0, 2], [2, 2], [4, 2], [5, 1]] as const) {
      const rule = { classes: 5, ignoreLabel: 3 };
      const ofLabels = await shareOf(labelArray, first, count, rule);
      assertAllClose("labels", [ofLabels], [reference(isLabel, first, count)], {
        atol: 0,
        rtol: 1e-7,
      });
      const ofMask = await shareOf(maskArray, first, count, "not zero");
      const seen = (index: number) => mask[index] !== 0;
      assertAllClose("mask", [ofMask], [reference(seen, first, count)], { atol: 0, rtol: 1e-7 });
    }
    const none = await shareOf(labelArray, 0, 6, { classes: 0, ignoreLabel: 0 });
    assertAllClose("where no pixel counts", [none], [0], { atol: 0, rtol: 0 });
  });
}
