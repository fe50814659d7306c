// Parts of classes that fall between the network's features.

import assert from "node:assert/strict";
import { neededLongSide, partsTooSmall, sentenceOf } from "../../../train/evaluation/causes.ts";

const CLASSES = ["ground", "pea", "melon"];
const SIZES = [0.9, 0.04, null];

Deno.test("parts smaller than two features are named with the long side that shows them", () => {
  const cause = partsTooSmall(CLASSES, SIZES, 320);
  assert.ok(cause);
  assert.equal(cause.name, "parts too small");
  assert.match(
    sentenceOf(cause),
    /^The parts of pea .* at a long side of 320 pixels one of pea measures 13, expected 16 or more; set data\.longSide to 416 /,
  );
  assert.equal(neededLongSide(0.04), 416);
  assert.equal(partsTooSmall(CLASSES, SIZES, 416), null, "what helps helps");
});

Deno.test("of several classes the smallest is named, and classes without parts are none", () => {
  const cause = partsTooSmall(CLASSES, [0.05, 0.04, null], 256);
  assert.match(sentenceOf(cause as NonNullable<typeof cause>), /of 2 of 3 classes .* of pea meas/);
  assert.equal(partsTooSmall(CLASSES, [null, null, null], 16), null);
});
