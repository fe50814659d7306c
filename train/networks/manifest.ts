// What stands beside networks that are handed on: where they come from, what they reach, their digests.

/** The name of the file. */
export const MANIFEST = "networks.json";

/** One network. */
export interface PackedNetwork {
  /** Its file, beside the manifest. */
  readonly file: string;
  /** The stage that trained it. */
  readonly stage: string;
  /** Optimiser updates of that stage. */
  readonly step: number;
  /** Bytes of the file. */
  readonly bytes: number;
  /** SHA-256 of the file, in hexadecimal digits. */
  readonly sha256: string;
  /** Mean IoU on the target in percent, measured as it lies there. */
  readonly mIoU: number;
  /** IoU by class name in percent; null for a class that does not occur. */
  readonly classIoU: Readonly<Record<string, number | null>>;
  /** Share of pixels predicted right, in percent. */
  readonly pixelAccuracy: number;
  /** Mean IoU that the run reported, with weights of 32 bits. */
  readonly before: number;
}

/** What {@link MANIFEST} holds. */
export interface NetworkManifest {
  /** The command that makes the folder again, out of the configuration in it. */
  readonly command: string;
  /** The adapter that the run was on. */
  readonly adapter: string;
  /** The run's seed. */
  readonly seed: number;
  /** The names of the classes. */
  readonly classes: readonly string[];
  /** The target's split that was measured. */
  readonly split: string;
  /** Images of it. */
  readonly images: number;
  /** The networks in the order of the stages. */
  readonly networks: readonly PackedNetwork[];
}
