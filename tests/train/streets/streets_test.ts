// What streets look like.

import assert from "node:assert/strict";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { CLASSES, STREETS_TRAIN_IDS, TRAIN_IDS } from "../../../train/data/classes.ts";
import { STREETS_CLASSES } from "../../../train/data/class_set.ts";
import { streetItem } from "../../../train/streets/item.ts";
import { renderStreet, type StreetOptions } from "../../../train/streets/render.ts";
import { sha256 } from "../../_digest.ts";
import { assertSame } from "../../_same.ts";

const base: StreetOptions = {
  seed: 7,
  domain: "target",
  split: "val",
  index: 3,
  width: 96,
  height: 48,
};
const DOMAINS = ["source", "target"] as const;

function render(domain: StreetOptions["domain"], count: number, first = 0) {
  return Array.from(
    { length: count },
    (_, i) =>
      renderStreet({ ...base, domain, split: "train", index: first + i, width: 128, height: 64 }),
  );
}

Deno.test("a street is a pure function of its options", () => {
  const first = renderStreet(base);
  renderStreet({ ...base, index: 4 });
  assertSame(renderStreet(base), first);
  for (const change of [{ seed: 8 }, { domain: "source" }, { split: "train" }, { index: 2 }]) {
    const other = renderStreet({ ...base, ...change } as StreetOptions);
    assert.notDeepEqual(other.image, first.image, JSON.stringify(change));
    assert.notDeepEqual(other.label, first.label, JSON.stringify(change));
  }
});

/** A digest of the first images of a split with their labels, as the benchmark draws them. */
async function digestOf(
  domain: StreetOptions["domain"],
  split: StreetOptions["split"],
): Promise<string> {
  const streets = [0, 1, 2].map((index) =>
    renderStreet({ ...base, seed: 0, domain, split, index, width: 256, height: 128 })
  );
  return (await sha256(...streets.flatMap(({ image, label }) => [image, label]))).slice(0, 32);
}

Deno.test("the images of streets are those of the first version", async () => {
  assert.deepEqual(
    [
      await digestOf("source", "train"),
      await digestOf("target", "train"),
      await digestOf("target", "val"),
    ],
    [
      "575e2a7b86199b247aeeb51624785d7e",
      "7f6539edd727c106e2f7c6a417499445",
      "544830d70192cb06b0cee3d641241c89",
    ],
  );
});

Deno.test("no image is in two splits", async () => {
  const seen = new Map<string, string>();
  for (const domain of DOMAINS) {
    for (const split of ["train", "val", "choose"] as const) {
      for (let index = 0; index < 30; index++) {
        const { image } = renderStreet({ ...base, domain, split, index });
        const digest = await sha256(image);
        const name = `${domain} ${split} ${index}`;
        assert.equal(seen.get(digest), undefined, `${name} is also ${seen.get(digest)}`);
        seen.set(digest, name);
      }
    }
  }
});

Deno.test("streets of any size have a known label id on every pixel", () => {
  const known = new Set([...STREETS_TRAIN_IDS, IGNORE]);
  for (const domain of DOMAINS) {
    for (let index = 0; index < 20; index++) {
      const { image, label } = renderStreet({ ...base, domain, index, width: 67, height: 41 });
      assert.equal(image.length, 67 * 41 * 3);
      assert.equal(label.length, 67 * 41);
      for (const id of label) assert.ok(known.has(TRAIN_IDS[id]), `${domain} ${index}: id ${id}`);
    }
  }
});

Deno.test("both domains show every class often enough to be learnt", () => {
  for (const domain of DOMAINS) {
    const streets = render(domain, 60);
    for (const trainId of STREETS_TRAIN_IDS) {
      const { name, labelId } = CLASSES[trainId];
      const seen = streets.map(({ label }) => label.filter((id) => id === labelId).length);
      const share = seen.reduce((sum, count) => sum + count, 0) / (60 * 128 * 64);
      const images = seen.filter((count) => count > 20).length;
      assert.ok(share > 0.01 && share < 0.45, `${domain} ${name} covers ${share} of the pixels`);
      assert.ok(images > 30, `${domain} ${name} is in ${images} of 60 images`);
    }
  }
});

Deno.test("colour alone does not tell the classes of the other domain", () => {
  // The best a colour can do: the most frequent source class of each of 16³ colours.
  const bin = (image: Uint8Array, at: number): number =>
    (image[at * 3] >> 4) << 8 | (image[at * 3 + 1] >> 4) << 4 | image[at * 3 + 2] >> 4;
  const votes = Array.from({ length: 4096 }, () => new Uint32Array(256));
  for (const { image, label } of render("source", 60)) {
    label.forEach((id, at) => votes[bin(image, at)][id]++);
  }
  const best = votes.map((counts) => counts.indexOf(Math.max(...counts)));
  const classIoU = (domain: StreetOptions["domain"]): number[] => {
    const [hits, seen, said] = [0, 1, 2].map(() => new Uint32Array(256));
    for (const { image, label } of render(domain, 40, 60)) {
      label.forEach((id, at) => {
        const guess = best[bin(image, at)];
        seen[id]++;
        said[guess]++;
        if (guess === id) hits[id]++;
      });
    }
    return STREETS_TRAIN_IDS.map((trainId) => CLASSES[trainId].labelId).map((id) =>
      hits[id] / (seen[id] + said[id] - hits[id])
    );
  };
  const mean = (values: number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;
  const [within, across] = [classIoU("source"), classIoU("target")];
  assert.ok(mean(within) < 0.5, `colour reaches ${mean(within)} within the source domain`);
  assert.ok(mean(across) < 0.2, `colour reaches ${mean(across)} on the target domain`);
  across.forEach((iou, i) => {
    assert.ok(iou < 0.5, `colour finds ${CLASSES[STREETS_TRAIN_IDS[i]].name} with IoU ${iou}`);
  });
});

Deno.test("a street to learn from has its image, and labels as a network counts classes", () => {
  const { width, height } = base;
  const { image, label } = renderStreet(base);
  const item = streetItem(base);
  assertSame(item.image, { data: image, width, height });
  assert.deepEqual([item.label?.width, item.label?.height], [width, height]);
  const found = item.label?.data ?? assert.fail("it has no label");
  const seen = new Set(found);
  seen.delete(IGNORE);
  assert.ok(seen.size > 4 && Math.max(...seen) < STREETS_CLASSES.names.length, `${[...seen]}`);
  found.forEach((id, at) => {
    const name = CLASSES.find(({ labelId }) => labelId === label[at])?.name;
    assert.equal(STREETS_CLASSES.names[id], name);
  });
});

Deno.test("a size, seed or index that cannot be drawn is refused", () => {
  for (const change of [{ width: 15 }, { height: 40.5 }, { index: -1 }, { seed: NaN }]) {
    assert.throws(() => renderStreet({ ...base, ...change }), RangeError);
  }
});
