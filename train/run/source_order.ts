// In which order a run takes the images that come with labels.

import type { RunConfig } from "../config/settings.ts";
import { countClasses, type CountOptions } from "../data/class_counts.ts";
import type { ClassSet } from "../data/class_set.ts";
import type { ClassCounts } from "../data/class_pixels.ts";
import type { Dataset } from "../data/dataset.ts";
import type { LoaderOptions } from "../data/loader.ts";
import { RareClasses } from "../data/rare_classes.ts";
import type { Collective } from "../parallel/collective.ts";
import { addUp, ownItems } from "../parallel/peers.ts";

const COUNTING_THREADS = Math.min(8, navigator.hardwareConcurrency);

/** What the order is made from. */
interface OrderOptions {
  readonly config: RunConfig;
  /** Each counts its share of the labels. */
  readonly ranks: Collective;
  readonly classes: ClassSet;
  readonly signal: AbortSignal;
  readonly message: (text: string) => void;
}

/**
 * The order of a run's labelled images: random, or by rare classes, for which labels are counted when it
 * is first asked for.
 *
 * @returns Takes the images, the same ones for all stages of a run. It throws a {@link DataError} if a
 *   label cannot be used, and the signal's reason if that comes meanwhile.
 */
export function sourceOrder(
  { config, ranks, classes, signal, message }: OrderOptions,
): (labelled: Dataset) => Promise<LoaderOptions["order"]> {
  const { rareClassSampling: temperature, cropHeight, cropWidth, longSide } = config.data;
  if (temperature === 0) return () => Promise.resolve("shuffled");
  const make = async (labelled: Dataset) => {
    message(`rare class sampling: counting ${labelled.items.length} labels`);
    const options = { classes: classes.names.length, workers: COUNTING_THREADS, signal };
    const counts = await countTogether(ranks, labelled, options);
    const crop = { height: cropHeight, width: cropWidth };
    const rare = new RareClasses(counts, { temperature, crop, longSide });
    message(`rare class sampling: images are drawn for ${shares(classes, rare)}`);
    return rare;
  };
  let order: Promise<RareClasses> | undefined;
  return (labelled) => order ??= make(labelled);
}

/** What the labels of all items hold, each counted by one of the ranks. */
async function countTogether(
  ranks: Collective,
  { items, ...labelled }: Dataset,
  options: CountOptions,
): Promise<ClassCounts[]> {
  const { rank, size } = ranks;
  const own = { ...labelled, items: ownItems(ranks, items) };
  const counted = await countClasses(own, options);
  if (size === 1) return counted;
  const length = options.classes + 2;
  const all = new Float64Array(items.length * length);
  counted.forEach(({ pixels, width, height }, at) =>
    all.set([...pixels, width, height], (at * size + rank) * length)
  );
  await addUp(ranks, [all]);
  return items.map((_, index) => {
    const row = [...all.subarray(index * length, (index + 1) * length)];
    const [width, height] = row.splice(options.classes) as [number, number];
    return { pixels: row, width, height };
  });
}

/** The classes that are drawn most often, such as `person 36 %, sidewalk 21 %, …`. */
function shares({ names }: ClassSet, { probabilities }: RareClasses): string {
  const most = names.map((name, index) => ({ name, share: probabilities[index] }))
    .filter(({ share }) => share >= 0.005) // the others would be shown as 0 %
    .sort((a, b) => b.share - a.share);
  const shown = most.slice(0, 8).map(({ name, share }) => `${name} ${Math.round(100 * share)} %`);
  return shown.join(", ") + (most.length > shown.length ? ", …" : "");
}
