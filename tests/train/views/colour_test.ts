import type { ColourMatrix } from "../../../kernels/warp.ts";
import {
  brightness,
  composeColours,
  contrast,
  hue,
  saturation,
  transferColours,
} from "../../../train/views/colour.ts";
import { assertAllClose } from "../../_check.ts";

type Colour = readonly [number, number, number];

const PAINT: Colour = [0.8, 0.3, 0.1];
const GREY: Colour = [0.4, 0.4, 0.4];

function apply(matrix: ColourMatrix, [r, g, b]: Colour): number[] {
  return matrix.map(([red, green, blue, one]) => red * r + green * g + blue * b + one);
}

Deno.test("brightness, contrast and saturation do as they say, and nothing at 1", () => {
  assertAllClose("bright", apply(brightness(1.5), PAINT), [1.2, 0.45, 0.15]);
  assertAllClose("contrast", apply(contrast(2), PAINT), [1.1, 0.1, -0.3]);
  assertAllClose("no contrast", apply(contrast(0), PAINT), [0.5, 0.5, 0.5]);
  const luma = 0.299 * 0.8 + 0.587 * 0.3 + 0.114 * 0.1;
  assertAllClose("no saturation", apply(saturation(0), PAINT), [luma, luma, luma]);
  assertAllClose("saturated", apply(saturation(2), PAINT), PAINT.map((c) => 2 * c - luma));
  for (const change of [brightness, contrast, saturation]) {
    assertAllClose(`${change.name} of 1`, apply(change(1), PAINT), PAINT);
  }
});

Deno.test("a hue of 120 degrees turns red to green to blue, 360 nothing, and greys stay", () => {
  assertAllClose("red to green", apply(hue(120), [1, 0, 0]), [0, 1, 0]);
  assertAllClose("green to blue", apply(hue(120), [0, 1, 0]), [0, 0, 1]);
  assertAllClose("paint", apply(hue(120), PAINT), [0.1, 0.8, 0.3]);
  assertAllClose("all around", apply(hue(360), PAINT), PAINT);
  for (const degrees of [20, -75]) assertAllClose("grey", apply(hue(degrees), GREY), GREY);
});

Deno.test("composed colours act one after the other", () => {
  const [first, second] = [contrast(1.3), hue(25)];
  const [r = 0, g = 0, b = 0] = apply(first, PAINT);
  assertAllClose("composed", apply(composeColours(second, first), PAINT), apply(second, [r, g, b]));
});

Deno.test("a transfer gives each channel the mean and deviation of the other image", () => {
  const from = { mean: [0.5, 0.2, 0.4], deviation: [0.1, 0.2, 0.3] } as const;
  const to = { mean: [0.3, 0.6, 0.4], deviation: [0.2, 0.1, 0.3] } as const;
  const matrix = transferColours(from, to);
  assertAllClose("mean", apply(matrix, from.mean), to.mean);
  const [r, g, b] = from.mean.map((mean, k) => mean + from.deviation[k]);
  assertAllClose("one deviation away", apply(matrix, [r, g, b]), [0.5, 0.7, 0.7]);
  assertAllClose("to itself", apply(transferColours(from, from), PAINT), PAINT);
});

Deno.test("a transfer spreads a channel by 3 at most, and one of a single colour not at all", () => {
  const flat = { mean: [0.5, 0.5, 0.5], deviation: [0.01, 0, 0.01] } as const;
  const wide = { mean: [0.5, 0.4, 0.5], deviation: [0.2, 0.2, 0] } as const;
  assertAllClose("spread", apply(transferColours(flat, wide), [0.6, 0.6, 0.6]), [0.8, 0.5, 0.5]);
});
