// What the stages of a run share.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { RunConfig } from "../config/settings.ts";
import type { Fingerprint } from "../data/fingerprint.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Loader, LoaderOptions } from "../data/loader.ts";
import type { Collective } from "../parallel/collective.ts";
import type { StageName } from "../stages/kinds.ts";
import type { TrainingObserver } from "./observer.ts";
import type { RunData } from "./run_data.ts";
import type { RunFolder, StageResult } from "./run_folder.ts";

/** A run as it stands between two stages. */
export interface RunState {
  readonly config: RunConfig;
  readonly gpu: Gpu;
  /** The processes that train together. */
  readonly ranks: Collective;
  readonly data: RunData;
  /** What the data are. */
  readonly fingerprint: Fingerprint;
  readonly folder: RunFolder;
  readonly observer: TrainingObserver;
  /** Asks for a stop after the current step. */
  readonly signal: AbortSignal;
  /** What the next stage starts from. A stage takes it, and `runStage` puts the stage's own in its place. */
  network: DeepLab;
  /** Makes the network that a stage starts from. */
  networkBefore(name: StageName): DeepLab;
  /** In which order the stages take the images that come with labels. */
  sourceOrder(labelled: Dataset): Promise<LoaderOptions["order"]>;
  /** The target's val split. */
  readonly validation: Loader;
  /** The source's held-out images; null for none. */
  readonly sourceValidation: Loader | null;
  /** The results of the stages before. */
  readonly done: readonly StageResult[];
}
