// What a run is told, each setting once: what it takes here, its meaning beside it, its value in the presets.
// The settings of a stage stand beside the stage.

import type { SettingsOf, SettingTable } from "../base/settings.ts";
import { LAYOUT_NAMES } from "../data/layouts.ts";
import { FINAL_STATISTICS, HAND_ON, SELECTIONS } from "../evaluation/selection.ts";
import type { StageName, StagesConfig } from "../stages/kinds.ts";

/** Everything that decides what a run computes, but for its stages. */
export const RUN_SETTINGS = {
  /** Seed of weights, data order, views and dropout. */
  seed: "whole",
  /** The run folder. */
  out: "path",
  /**
   * Folder of an earlier run that did the stages before the pipeline: this one takes copies of their
   * checkpoints. Null for none.
   */
  base: "optionalPath",
  /**
   * A file that the first stage starts from: a training's checkpoint, or weights from elsewhere, of the
   * backbone alone where they have no head. Null for random weights.
   */
  init: "optionalPath",
  /** Steps between two lines of the log. */
  logEvery: "count",
  /** Steps between two evaluations; a stage's end has one. */
  evalEvery: "count",
  /** How a stage's own labels are measured while it runs, against the target's, which it never learns. */
  labelWatch: {
    /** Steps between two measurements; 0 for none. */
    every: "whole",
    /** Target images that are measured, spread over the data set. */
    images: "count",
    /** Target images of which every measurement writes a picture; 0 for none. */
    pictures: "whole",
  },
  /**
   * Which network of a stage counts, is scored and handed on: its last one, or the best of its evaluations
   * by labels or without (see `Selection`).
   */
  select: SELECTIONS,
  /**
   * Whose network a stage starts from: that of the stage before it, or the best so far by the label-free
   * score, which is an earlier one only if that scores more than 1.05 times as much.
   */
  handOn: HAND_ON,
  /**
   * With which batch-norm statistics a stage that adapts to the target leaves its network: its own, or those
   * of the target's images as evaluation sees them, where the label-free score is higher with them.
   */
  finalStatistics: FINAL_STATISTICS,
  /** Steps between two checkpoints: what an interruption costs at most; a stage's end has one. */
  checkpointEvery: "count",
  /** The network of every stage: DeepLabv2 with a bottleneck ResNet. */
  network: {
    /** Bottleneck blocks of the four layers; ResNet-101 is 3, 4, 23, 3. */
    blocks: "fourCounts",
    /** Channels of the stem; 64 in ResNet-101. */
    width: "count",
    /** `proda` has features to denoise by and is what stage 1 needs; `classic` is plain DeepLabv2. */
    head: ["proda", "classic"],
    /** Channels of the features that the prototypes live in. */
    headChannels: "count",
    /** Groups of the head's group norms; they divide `headChannels`. */
    groups: "count",
    /** Dilations of the head's 3×3 branches. */
    dilations: "counts",
    /** Share of feature channels that dropout zeroes. */
    dropout: "belowOne",
    /**
     * How first weights are drawn where no file or earlier stage gives them: `he` (He et al., 2015), for
     * training from nothing, or as in the released code, which counts on a pre-trained backbone.
     */
    initialisation: ["he", "official"],
  },
  /** What is given up for less GPU memory. */
  memory: {
    /** Whether blocks run again in the backward instead of keeping activations; the same bits, slower. */
    recompute: "toggle",
    /**
     * Parts in which a step learns its batch; they divide `data.batch`. Losses and gradients are those of
     * the batch, batch norms take the statistics of a part. Self-supervised pre-training compares all images
     * of a batch, and takes it whole.
     */
    accumulate: "count",
    /** How activations are kept for the backward: as they are, or in half the bytes and 11 bits. */
    activations: ["f32", "f16"],
    /**
     * The numbers that convolutions and their gradients multiply: 32-bit floats, or 16-bit ones that are
     * added up in 32 bits, with a loss scale. All else is in 32 bits. `f16` takes an adapter with `shader-f16`.
     */
    compute: ["f32", "f16"],
  },
  /** How several processes train together; one that trains alone is not concerned. */
  parallel: {
    /**
     * Ranks that a batch is divided among, whatever the number of processes, which divides them: sums are
     * added up in the order of ranks, so that a run has the same bits on any such number of processes. 0
     * makes every process one rank, which is faster and takes less memory.
     */
    shards: "whole",
    /** The numbers in which gradients travel between processes: 32-bit floats, or half the bytes. */
    wire: ["f32", "f16"],
  },
  /** Where images come from and how they are cut. */
  data: {
    /** Folder of the labelled source images; null for the built-in benchmark, streets. */
    sourceDirectory: "optionalPath",
    /** How the source's files lie in it. */
    sourceLayout: LAYOUT_NAMES,
    /** Folder of the target images; null for the built-in benchmark, streets. */
    targetDirectory: "optionalPath",
    /** How the target's files lie in it. */
    targetLayout: LAYOUT_NAMES,
    /**
     * Names of the classes to train, or one of `19`, `16` and `13` for those that results on Cityscapes are
     * published for; null for those that the data sets have. The built-in benchmark has its own.
     */
    classes: "optionalNames",
    /**
     * The source images that are never trained on, but measured at every evaluation, so that the run knows
     * whether it has learnt the source: those of the source's split `val`, where it has one with labels.
     */
    heldOut: {
      /**
       * Where it has none, the share of all that is held out, spread over the order of their names: of 0.05
       * every twentieth. With 0 none is held out, and a split `val` is not measured.
       */
      share: "belowOne",
      /** Images that are measured at most, spread evenly: what an evaluation costs more at most. */
      images: "images",
    },
    /**
     * The split of the target that evaluations measure: `val`, which is what results are reported on, or
     * `choose`, on which settings are chosen.
     */
    evaluateOn: ["val", "choose"],
    /** Images of each domain in a step, of all processes together that train; their number divides it. */
    batch: "images",
    /** Height of a training crop in pixels. */
    cropHeight: "pixels",
    /** Width of a training crop in pixels. */
    cropWidth: "pixels",
    /**
     * The colours of source images where a stage learns them beside target images: their own, or those of
     * the target image beside them, mean and standard deviation of each channel (`transferColours`).
     */
    sourceColours: ["own", "target"],
    /** Length in pixels that an image's long side is resized to at scale 1. */
    longSide: "pixels",
    /** Range that the random scale of a crop is drawn from, evenly. */
    scales: "range",
    /** Chance of a horizontal flip. */
    flip: "share",
    /**
     * Temperature of rare class sampling, T of equation 5 of DAFormer (Hoyer et al., 2022): images that
     * come with labels are drawn for classes, rare ones more often, and cropped so that they show them.
     * 0.01 there, for 19 classes; the higher, the more alike the classes are drawn; 0 for none, where
     * images come in a random order.
     */
    rareClassSampling: "weight",
    /**
     * What the strong view does to the weak one: `randaugment` is the published pool of fourteen
     * operations, in 8 bits on the decoding threads; `simple` is gentler, and made on the GPU.
     */
    strongView: ["simple", "randaugment"],
    /**
     * What views hold where they show nothing, and what `simple` strong ones turn contrast about: middle
     * grey, or the mean of the image. Images far from middle grey, such as of the night, else become
     * black, and are outshone by what was cut out. Views of `randaugment`, and those of self-supervised
     * training, keep grey.
     */
    middle: ["grey", "image"],
    /** The built-in benchmark, written as PNG files where no folders are given. */
    streets: {
      /** Folder that it is written to, and reused from. */
      directory: "path",
      /** Seed of the images; the run's own seed leaves them as they are. */
      seed: "whole",
      /** Pixels per row. */
      width: "pixels",
      /** Rows. */
      height: "pixels",
      /** Labelled source images. */
      sourceTrain: "images",
      /** Labelled source images that no training sees. */
      sourceVal: "images",
      /** Target images to adapt to. */
      targetTrain: "images",
      /** Target images to measure on. */
      targetVal: "images",
      /** Further target images, to choose settings on. */
      targetChoose: "images",
    },
  },
} as const satisfies SettingTable;

/** Everything that decides what a run computes. */
export type RunConfig = SettingsOf<typeof RUN_SETTINGS> & {
  /**
   * The stages to run, in this order; each starts from the network of the one before. Pre-training has a
   * network of its own and passes the other on.
   */
  pipeline: StageName[];
  /** The settings of each stage. */
  stages: StagesConfig;
};
