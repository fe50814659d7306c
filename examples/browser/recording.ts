// What a recorded run holds, beside its pictures: predictions in class colours, and their confidence. The
// streets themselves are drawn again.

import type { LearntLabels, Scores, Snapshot, TrainingEvent } from "./protocol.ts";

type Of<K extends TrainingEvent["kind"]> = Extract<TrainingEvent, { kind: K }>;

/** The content of `recorded/run.json`. */
export interface Recorded {
  /** The adapter that computed it. */
  readonly adapter: string;
  /** How streets are drawn. */
  readonly drawing: {
    readonly seed: number;
    readonly width: number;
    readonly height: number;
  };
  /** Streets with what each network makes of them. */
  readonly streets: readonly {
    readonly index: number;
    /** By network. */
    readonly scores: Readonly<Record<string, Scores>>;
    readonly accuracy: readonly [number, number, number];
    readonly prototypeImages: number;
  }[];
  /** A training from its first step to its last. */
  readonly training: {
    readonly begin: Omit<Of<"begin">, "shown" | "kind">;
    /** Numbers of the streets that it shows, one below the other in its pictures. */
    readonly shownStreets: readonly number[];
    readonly events: readonly (
      | Of<"doing">
      | Of<"step">
      | Of<"end">
      | { readonly kind: "snapshot"; readonly snapshot: RecordedSnapshot }
    )[];
  };
}

/**
 * A snapshot whose predictions lie in a picture, below each other; below them, where there are some, the pseudo
 * label and the denoised label of the training street that is shown.
 */
export type RecordedSnapshot = Omit<Snapshot, "shown" | "labels"> & {
  readonly file: string;
  readonly labels: Pick<LearntLabels, "pseudo" | "denoised"> | null;
};
