// Features in the plane, by UMAP (McInnes et al., 2018).

import { UMAP } from "umap-js";
import { Random } from "../../nn/random.ts";
import type { MapPoint } from "./charts.ts";
import type { FeatureSample } from "./features.ts";

/**
 * Lays out features and prototypes so that neighbours stay neighbours; the same seed gives the same map.
 *
 * @param prototypes By class; null where a class has none.
 */
export function embed(
  { rows, labels }: FeatureSample,
  prototypes: readonly (Float32Array | null)[],
  seed: number,
): MapPoint[] {
  const stars = prototypes.flatMap((row, label) => row ? [{ row, label }] : []);
  const all = [...rows.map((row, at) => ({ row, label: labels[at] })), ...stars];
  const random = new Random(seed, "report/umap");
  const umap = new UMAP({
    nNeighbors: Math.min(15, all.length - 1),
    random: () => random.uniform(),
  });
  const places = umap.fit(all.map(({ row }) => [...row]));
  return places.map(([x, y], at) => ({
    x,
    y,
    label: all[at].label,
    prototype: at >= rows.length,
  }));
}
