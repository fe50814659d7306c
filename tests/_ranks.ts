// The ranks that a process of tests is among: alone, unless tests/mpi/_as_rank.ts was loaded before.

import type { Collective } from "../train/parallel/collective.ts";
import { Solo } from "../train/parallel/solo.ts";
import { byParts } from "../train/stages/common/accumulate.ts";
import { releaseBatch } from "../train/stages/common/batch.ts";
import type { ContrastViews } from "../train/stages/self_supervised/self_supervised.ts";

/** Whom the tests of this process compute with. */
export const among: { ranks: Collective } = { ranks: new Solo() };

/** Calls `use` with a rank's part of a batch, which is freed afterwards. */
export function onPart<B extends object, R>(
  batch: B,
  { rank, size }: Pick<Collective, "rank" | "size">,
  use: (part: B) => R,
): R {
  if (size === 1) return use(batch);
  const isOfPairs = Object.values(batch).every((views) => "places" in views);
  if (isOfPairs) {
    const views: [string, ContrastViews][] = Object.entries(batch);
    const part = Object.fromEntries(
      views.map(([name, own]) => [name, ownViews(own, rank, size)]),
    ) as B;
    const result = use(part);
    releaseBatch(part);
    return result;
  }
  let found: { readonly result: R } | undefined;
  byParts(batch, size, (part, index) => {
    if (index === rank) found = { result: use(part) };
  });
  return found!.result;
}

/** The rows of a rank, of the first views and of the second. */
function ownViews({ images, places }: ContrastViews, rank: number, size: number): ContrastViews {
  const [count = 0] = images.shape;
  const rows = count / 2 / size;
  const first = [rank * rows, count / 2 + rank * rows];
  const own = images.gpu.empty([2 * rows, ...images.shape.slice(1)], "own views");
  first.forEach((from, half) => {
    using part = images.slice(from, rows);
    using place = own.slice(half * rows, rows);
    images.gpu.copy(part, place);
  });
  const length = places.length / count;
  const ownPlaces = first.flatMap((from) => [
    ...places.subarray(from * length, (from + rows) * length),
  ]);
  return { images: own, places: Float32Array.from(ownPlaces) };
}
