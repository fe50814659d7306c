// What the rest of the program must know of a stage. It walks the registry, `stages/kinds.ts`, and treats
// all stages alike.

import type { Gpu } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import type { SettingTable } from "../../base/settings.ts";
import type { ClassSet } from "../../data/class_set.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Collective } from "../../parallel/collective.ts";
import type { LabelMaker } from "../../evaluation/label_scores.ts";
import type { Batches, WeakViews } from "./batches.ts";
import type { PlannedBatches } from "./planned_batches.ts";
import type { StageSettings, Variant } from "./settings.ts";
import type { Stage } from "./stage.ts";

/** What a stage is made with, in a run or in a plan of one. */
export interface StageContext<S> {
  /** The stage's name. */
  readonly name: string;
  /** Its settings, and what all stages of a run share. */
  readonly options: S & { readonly seed: number; readonly accumulate: number };
  /** The device. */
  readonly gpu: Gpu;
  /** The network that the stage before has left. */
  readonly network: DeepLab;
  /**
   * Makes a network like that of the run.
   *
   * @param options.featureNorm Whether a batch norm stands between backbone and head (false).
   * @param options.init Whether its first weights are drawn (default), or others follow.
   */
  createNetwork(
    options?: { readonly featureNorm?: boolean; readonly init?: "drawn" | "none" },
  ): DeepLab;
}

/** What a stage is planned with: its batches are of the right sizes, and hold nothing. */
export interface PlanContext<S> extends StageContext<S> {
  /** Makes arrays of the sizes that a run's have. */
  readonly batches: PlannedBatches;
}

/** What a stage is made with in a run. */
export interface RunContext<S> extends StageContext<S> {
  /** The target images to adapt to; their labels are not read. */
  readonly target: Dataset;
  /** The processes that train together: files are made by each for a share of the images. */
  readonly ranks: Collective;
  /** What the network predicts. */
  readonly classes: ClassSet;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  /**
   * Whether the stage goes on from a checkpoint: the files that it makes before its first step should be
   * there.
   */
  readonly isResumed: boolean;
  /** What the checkpoint says of them, as in {@link Prepared.made}; null where it says nothing. */
  readonly made: Readonly<Record<string, string>> | null;
  /** Asks for a stop. */
  readonly signal: AbortSignal;
  /** Tells whoever watches. */
  message(text: string): void;
  /** A path in the run folder for the stage's own files. */
  pathOf(...names: string[]): string;
  /**
   * Gives the network the batch-norm statistics of the target (AdaBN, Li et al., 2016), where the setting
   * `statistics` asks for them and the stage before has not left it those.
   */
  adaptStatistics(): Promise<void>;
  /** Weak views of all target images, each `passes` times, in random orders and as many as a batch at once. */
  weakViews(passes: number): AsyncIterable<WeakViews>;
  /**
   * Gives the network the weights that the stage has started from, where a stage that goes on makes files
   * again; the checkpoint's follow after `prepare`.
   */
  returnToStart(): void;
  /**
   * Gives a network the backbone that a stage has trained, or the file that takes that stage's place; of
   * the file that the run starts from, where the stage is null.
   */
  loadBackbone(network: DeepLab, stage: string | null): void;
}

/** A stage ready to run. */
export interface Prepared<B> {
  /** The stage. Its network is what the next stage starts from, unless this one is for pre-training. */
  readonly stage: Stage<B>;
  /** The target images with labels that the stage has made; those of the context unless given. */
  readonly target?: Dataset;
  /** Digests by name of the files that the stage learns from and has made before its first step. */
  readonly made?: Readonly<Record<string, string>>;
  /** Makes the batch of the next step. */
  nextBatch(batches: Batches): Promise<B>;
  /** Labels of whole target images, where the stage makes some as it goes. */
  readonly makeLabels?: LabelMaker;
}

/** What a stage starts from beside the network of the stage before. */
export interface BackboneStart {
  /** The stage whose backbone it takes; null for that of the file which the run starts from. */
  readonly stage: string | null;
  /** A setting and the value with which it needs none, for messages. */
  readonly otherwise: readonly [setting: string, value: string];
}

/** Settings of a stage whose kind does not matter. */
export type AnySettings = StageSettings & Record<string, unknown>;

/** A kind of stage. */
export interface StageKind<S extends StageSettings = AnySettings, B = unknown> {
  /** What it is, in a few words, for the help of commands. */
  readonly summary: string;
  /** What it sets beside `STAGE_SETTINGS`. */
  readonly settings: SettingTable;
  /**
   * - `adaptation`: it takes the network of the stage before, and leaves one to the next.
   * - `pretraining`: it trains the backbone of a network of its own, which later stages may start from. There
   *   are no scores, and the network of the stage before passes it by. Its setting `weights` names a file that
   *   takes its place.
   * - `reference`: it learns the target's own labels, to compare with, and runs alone.
   */
  readonly role: "adaptation" | "pretraining" | "reference";
  /**
   * By which labels it adapts the network that it leaves to target images without any: those of the source
   * alone, or those too that it learns of the target; it does not adapt unless given.
   */
  readonly adapts?: "by source labels" | "by pseudo labels";
  /**
   * Under which prefix its checkpoints hold the network of the stage before, so that a run goes on without
   * that stage's checkpoint: `network` unless given, which is the one that it goes on training.
   */
  readonly givenNetwork?: string;
  /** Whether its target images come in a strong view too. */
  readonly hasStrongViews: boolean;
  /**
   * Checks its settings before a run begins.
   *
   * @param classes Names of what the network predicts.
   * @throws {DataError} If they do not go together.
   */
  check?(settings: S, classes: readonly string[]): void;
  /**
   * How often it takes every target image whole through the network before its first step, for what a plan
   * says of time; never unless given.
   */
  passes?(settings: S): number;
  /** Its choices where the paper and its released code disagree. */
  recipe?(variant: Variant): Partial<S>;
  /** What it starts from with these settings beside the network of the stage before; null for nothing. */
  backboneStart?(settings: S): BackboneStart | null;
  /**
   * The settings with which it starts from pre-trained weights that someone gives.
   *
   * @param variant Whose recipe the run follows, if any.
   */
  fromPretrained?(variant: Variant | undefined): Partial<S>;
  /** Makes the stage, and what it needs before its first step. */
  prepare(context: RunContext<S>): Prepared<B> | Promise<Prepared<B>>;
  /** Makes the stage as {@link StageKind.prepare} does, and a batch of the sizes that it gets. */
  plan(context: PlanContext<S>): { readonly stage: Stage<B>; makeBatch(): B };
}
