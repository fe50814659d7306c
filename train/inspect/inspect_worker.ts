// Decodes whole files and counts what labels hold, off the main thread. Started by inspect.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { DataError } from "../base/data_error.ts";
import { type PostedError, postedError } from "../base/thread.ts";
import type { DatasetItem } from "../data/dataset.ts";
import { readImage } from "../images/image.ts";
import { isJpegPath, loadJpegCodec } from "../images/jpeg.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import { type LabelCode, type LabelKind, trainIdsByValue } from "../data/label_code.ts";
import { type RawLabel, readRawLabel } from "../data/label_file.ts";
import { type PartCounts, PartSizes } from "../data/part_sizes.ts";

/** One image and its label, if it has one. */
export interface InspectRequest {
  readonly item: DatasetItem;
  readonly code: LabelCode;
  /** Train ids by label id; null where the classes are not known. */
  readonly trainIds: readonly number[] | null;
}

/** What was found; a part is null where there is none, and `problems` says why if that is wrong. */
export interface InspectReply {
  readonly size: { readonly width: number; readonly height: number } | null;
  readonly label: {
    readonly kind: LabelKind;
    /** Pixels by value in the file. */
    readonly counts: ReadonlyMap<number, number>;
    /** Parts of the classes by their size; none where the classes are not known. */
    readonly parts: PartCounts;
  } | null;
  readonly problems: readonly string[];
}

/** What became of a request. */
export type InspectAnswer = { readonly reply: InspectReply } | { readonly error: PostedError };

self.onmessage = async ({ data }: MessageEvent<InspectRequest>) => {
  let answer: InspectAnswer;
  try {
    answer = { reply: await inspect(data) };
  } catch (error) {
    answer = { error: postedError(error, data.item.image) };
  }
  self.postMessage(answer);
};

async function inspect({ item, code, trainIds }: InspectRequest): Promise<InspectReply> {
  if (isJpegPath(item.image)) await loadJpegCodec();
  const problems: string[] = [];
  const attempt = <T>(read: () => T): T | null => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      problems.push(error.message);
      return null;
    }
  };
  const image = attempt(() => readImage(item.image));
  const { label: path } = item;
  const label = path === null ? null : attempt(() => readRawLabel(path, code));
  if (image && label && (image.width !== label.width || image.height !== label.height)) {
    problems.push(
      `Cannot use label ${path} as its size is ${label.width}×${label.height}: expected the ` +
        `image's ${image.width}×${image.height}; replace it`,
    );
  }
  return {
    size: image && { width: image.width, height: image.height },
    label: label && {
      kind: label.kind,
      counts: count(label.values),
      parts: trainIds ? partsOf(label, code, trainIds) : new Map(),
    },
    problems,
  };
}

/** Runs of one value are counted together: labels are mostly large areas. */
function count(values: RawLabel["values"]): Map<number, number> {
  const counts = new Map<number, number>();
  for (let start = 0; start < values.length;) {
    const value = values[start];
    let end = start + 1;
    while (values[end] === value) end++;
    counts.set(value, (counts.get(value) ?? 0) + end - start);
    start = end;
  }
  return counts;
}

/** Values that stand for nothing are counted elsewhere, and are no class here. */
function partsOf(label: RawLabel, code: LabelCode, trainIds: readonly number[]): PartCounts {
  const trainIdOf = trainIdsByValue(label.kind, code, trainIds);
  const known = new Map<number, number>();
  const ids = Uint8Array.from(label.values, (value) => {
    let id = known.get(value);
    if (id === undefined) known.set(value, id = trainIdOf(value) ?? IGNORE);
    return id;
  });
  const parts = new PartSizes();
  parts.addLabel(ids, label);
  return parts.counts;
}
