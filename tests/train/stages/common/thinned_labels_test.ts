// Labels of frequent classes thinned out.

import assert from "node:assert/strict";
import { IGNORE } from "../../../../kernels/ignore_label.ts";
import { Random } from "../../../../nn/random.ts";
import type { Sample } from "../../../../train/data/samples.ts";
import { thinned } from "../../../../train/stages/common/thinned_labels.ts";

const [WIDTH, HEIGHT] = [200, 100];

/** A sample whose label has a share of class 1, the rest class 0, and a row of none. */
function sampleOf(share: number, position = 0): Sample {
  const pixels = WIDTH * HEIGHT;
  const data = new Uint8Array(pixels);
  data.fill(1, 0, share * pixels);
  data.fill(IGNORE, pixels - WIDTH);
  const image = { data: new Uint8Array(3 * pixels), width: WIDTH, height: HEIGHT };
  const label = { data, width: WIDTH, height: HEIGHT };
  return { image, label, name: "", index: 0, epoch: 0, position };
}

const randomOf = ({ position }: Sample) => new Random(1, `thinning/${position}`);

function count({ label }: Sample, id: number): number {
  return label?.data.filter((value) => value === id).length ?? 0;
}

Deno.test("classes stay by the weights of ENet, the rarest whole", () => {
  const sample = sampleOf(0.02);
  const labelled = WIDTH * HEIGHT - WIDTH;
  const shares = [0, 1].map((id) => count(sample, id) / labelled);
  const [frequent, rare] = shares.map((share) => 1 / Math.log(1.02 + share));
  for (const strength of [1, 0.5]) {
    const [found] = thinned([sample], strength, randomOf);
    assert.equal(count(found, 1), count(sample, 1), "the rarest class stays");
    const expected = (frequent / rare) ** strength;
    const kept = count(found, 0) / count(sample, 0);
    assert.ok(Math.abs(kept - expected) < 0.012, `${kept} of class 0 stay, expected ${expected}`);
    found.label?.data.forEach((id, at) => {
      assert.ok(id === sample.label?.data[at] || id === IGNORE, "no label becomes another");
    });
  }
  assert.equal(
    count(sample, IGNORE),
    WIDTH,
    "the sample itself, which a cache holds, is as it was",
  );
});

Deno.test("shares are those of the batch, so that a class that fills an image may still be rare", () => {
  const [all, none, other] = [sampleOf(1, 0), sampleOf(0, 1), sampleOf(0, 2)];
  const [rare, ...frequent] = thinned([all, none, other], 1, randomOf);
  assert.equal(count(rare, 1), count(all, 1));
  const kept = frequent.map((sample) => count(sample, 0) / count(none, 0));
  const expected = Math.log(1.02 + 1 / 3) / Math.log(1.02 + 2 / 3);
  for (const share of kept) assert.ok(Math.abs(share - expected) < 0.02, `${share}, ${expected}`);
});

Deno.test("the same sample is thinned alike, another otherwise, and one without labels not", () => {
  const twice = [0, 1].map(() => thinned([sampleOf(0.1, 4)], 1, randomOf)[0].label?.data);
  assert.deepEqual(twice[0], twice[1]);
  const [other] = thinned([sampleOf(0.1, 5)], 1, randomOf);
  assert.notDeepEqual(twice[0], other.label?.data);
  const [empty] = thinned([{ ...sampleOf(0.1), label: null }], 1, randomOf);
  assert.equal(empty.label, null);
});
