// What a recorded run holds, beside its pictures.

import type { Scores, Snapshot, TrainingEvent } from "./protocol.ts";

type Of<K extends TrainingEvent["kind"]> = Extract<TrainingEvent, { kind: K }>;

/** The content of `recorded/run.json`. */
export interface Recorded {
  /** The adapter that computed it. */
  readonly adapter: string;
  /** Streets with what each network makes of them. */
  readonly streets: readonly {
    readonly index: number;
    /** The name of its picture, with which those of predictions begin. */
    readonly image: string;
    /** By network. */
    readonly scores: Readonly<Record<string, Scores>>;
    readonly accuracy: readonly [number, number, number];
    readonly prototypeImages: number;
  }[];
  /** A training from its first step to its last. */
  readonly training: {
    readonly begin: Omit<Of<"begin">, "shown" | "kind">;
    /** Numbers of the streets that it shows, one below the other in `shown.png`. */
    readonly shownLabels: readonly number[];
    readonly events: readonly (
      | Of<"doing">
      | Of<"step">
      | Of<"end">
      | { readonly kind: "snapshot"; readonly snapshot: RecordedSnapshot }
    )[];
  };
}

/** A snapshot whose predictions lie in a picture. */
export type RecordedSnapshot = Omit<Snapshot, "shown"> & {
  readonly file: string;
};
