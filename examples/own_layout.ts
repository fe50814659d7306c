/**
 * A layout of one's own: a record that says where the files of a data set lie and what its labels
 * mean. The program draws a few photographs of fields, then opens and loads them by that record.
 *
 *     deno run --allow-read --allow-write examples/own_layout.ts
 *
 * Reading files takes npm packages, which "@proda/webgpu" does not bring. So in a folder of your own
 * "../" becomes the path of a clone, and `--config` that of its deno.json.
 *
 * Commands know a layout by its name once its record is in LAYOUTS of train/data/layouts.ts.
 */
import { dirname, join } from "node:path";
import { IGNORE } from "../kernels/ignore_label.ts";
import { openDataset } from "../train/data/dataset.ts";
import { PLAIN_CODE } from "../train/data/label_code.ts";
import type { LayoutRecord } from "../train/data/layouts.ts";
import { Loader } from "../train/data/loader.ts";
import { encodeImage, encodeLabel } from "../train/images/image.ts";

const CLASSES = {
  names: ["crop", "weed"],
  palette: [[80, 160, 40], [200, 60, 60]],
  trainIds: [IGNORE, 0, 1], // by label id: 0 is soil, which is no class
  labelIds: [1, 2],
  unlabelled: 0,
  isCityscapes: false,
} as const;

const FIELDS: LayoutRecord = {
  name: "fields",
  help: "photos/SPLIT/FIELD/NAME.rgb.png, masks/SPLIT/FIELD/NAME.ids.png",
  image: { top: "photos", endings: [".rgb.png"] },
  label: { top: "masks", codes: { ".ids.png": PLAIN_CODE } }, // the pixels are label ids
  splits: "all", // every folder in photos/ is a split
  depth: [1, 1], // in which images lie one folder deep
  classes: CLASSES,
};

function write(path: string, bytes: Uint8Array): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeFileSync(path, bytes);
}

const root = Deno.makeTempDirSync();
const [width, height] = [32, 16];
for (const [index, name] of ["north/1", "north/2", "south/1"].entries()) {
  const photo = new Uint8Array(3 * width * height).fill(40 * (index + 1)); // grey
  const ids = new Uint8Array(width * height); // soil
  ids.fill(1, 0, 8 * width); // crop in the upper half
  ids.fill(2, 0, 2 * (index + 1) * width); // weed in some rows of it
  const size = { width, height };
  write(join(root, `photos/train/${name}.rgb.png`), encodeImage({ data: photo, ...size }));
  write(join(root, `masks/train/${name}.ids.png`), encodeLabel({ data: ids, ...size }));
}

const { trainIds, names } = CLASSES;
const dataset = openDataset({ root, layout: FIELDS, split: "train", trainIds });
console.log(`${dataset.items.length} images in the layout ${FIELDS.name}`);
{
  using loader = new Loader({ dataset, order: "sequential" }); // decodes in a thread of its own
  for (const { name, image, label } of await loader.next(3)) {
    const shares = names.map((className, trainId) => {
      const pixels = label?.data.filter((id) => id === trainId).length ?? 0;
      return `${className} ${100 * pixels / (image.width * image.height)} %`;
    });
    console.log(`${name}: ${image.width}×${image.height} pixels, ${shares.join(", ")}`);
  }
}
Deno.removeSync(root, { recursive: true });
