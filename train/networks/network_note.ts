// What weights alone do not tell of a network that was trained here: a converted checkpoint keeps it in the
// metadata of its file, without the folders and settings of the run.

import * as v from "valibot";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import type { WeightsFile } from "../../nn/formats/weights_file.ts";
import { DataError } from "../base/data_error.ts";
import type { ClassSet } from "../data/class_set.ts";
import { classesFrom } from "./saved_classes.ts";

/** The key in the metadata. */
const KEY = "network";

const byte = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255));
/** Names of the classes; of those that are not of Cityscapes also colours, label ids and the id of none. */
const classes = {
  classes: v.array(v.string()),
  ownClasses: v.nullable(v.object({
    palette: v.array(v.tuple([byte, byte, byte])),
    labelIds: v.array(byte),
    unlabelled: byte,
  })),
};
/** The shape of the network, as a configuration has it, and the long side of images it has learnt from. */
const network = v.record(v.string(), v.unknown());
const longSide = v.number();
const Note = v.object({ ...classes, network, longSide });
/** The same in the state of a checkpoint. */
const State = v.object({
  ...classes,
  config: v.object({ network, data: v.object({ longSide }) }),
});

/** What a file says of its network beside the weights. */
export interface NetworkNote {
  /** Its classes. */
  readonly classes: ClassSet;
  /** Its shape, as a configuration has it. */
  readonly network: Readonly<Record<string, unknown>>;
  /** The long side of images that it was trained on. */
  readonly longSide: number;
}

/** The metadata with which a file of some of the weights still says what network they are of. */
export function noteOf(weights: WeightsFile): Readonly<Record<string, string>> {
  const metadata = weights instanceof Safetensors ? weights.metadata : new Map<string, string>();
  const kept = metadata.get(KEY);
  if (kept !== undefined) return { [KEY]: kept };
  const state = v.safeParse(v.pipe(v.string(), v.parseJson(), State), metadata.get("state"));
  if (!state.success) return {};
  const { classes, ownClasses, config: { network, data: { longSide } } } = state.output;
  return { [KEY]: JSON.stringify({ classes, ownClasses, network, longSide }) };
}

/**
 * Reads the note of a file; null where it has none.
 *
 * @throws {DataError} If it is not one that {@link noteOf} has made.
 */
export function readNote(path: string, weights: WeightsFile): NetworkNote | null {
  const text = weights instanceof Safetensors ? weights.metadata.get(KEY) : undefined;
  if (text === undefined) return null;
  const note = v.safeParse(v.pipe(v.string(), v.parseJson(), Note), text);
  if (!note.success) {
    throw new DataError(
      `Cannot use weights ${path} as what they say of their network is damaged: expected what convert ` +
        "has written; convert the checkpoint again",
    );
  }
  const { classes, ownClasses, ...rest } = note.output;
  return { ...rest, classes: classesFrom(`weights ${path}`, classes, ownClasses) };
}
