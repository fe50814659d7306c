// What a configuration holds, section by section.

import type { Layout } from "../data/layouts.ts";
import type { Variant } from "../stages/common/losses.ts";
import type { Selection } from "../evaluation/selection.ts";

/** The network of every stage: DeepLabv2 with a bottleneck ResNet. */
export interface NetworkConfig {
  /** Bottleneck blocks of the four layers; ResNet-101 is 3, 4, 23, 3. */
  blocks: number[];
  /** Channels of the stem; 64 in ResNet-101. */
  width: number;
  /** `proda` has features to denoise by and is what stage 1 needs; `classic` is plain DeepLabv2. */
  head: "proda" | "classic";
  /** Channels of the features that the prototypes live in. */
  headChannels: number;
  /** Groups of the head's group norms; they divide `headChannels`. */
  groups: number;
  /** Dilations of the head's 3×3 branches. */
  dilations: number[];
  /** Share of feature channels that dropout zeroes. */
  dropout: number;
}

/** What is given up for less GPU memory. */
export interface MemoryConfig {
  /** Whether blocks run again in the backward instead of keeping activations; the same bits, slower. */
  recompute: boolean;
  /**
   * Parts in which a step learns its batch; they divide `data.batch`. Losses and gradients are those of
   * the batch, batch norms take the statistics of a part. Self-supervised pre-training compares all images
   * of a batch, and takes it whole.
   */
  accumulate: number;
  /** How activations are kept for the backward: as they are, or in half the bytes and 11 bits. */
  activations: "f32" | "f16";
}

/** Where images come from and how they are cut. */
export interface DataConfig {
  /** Folder of the labelled source images; null for the built-in benchmark, streets. */
  sourceDirectory: string | null;
  /** How the source's files lie in it. */
  sourceLayout: Layout;
  /** Folder of the target images; null for the built-in benchmark, streets. */
  targetDirectory: string | null;
  /** How the target's files lie in it. */
  targetLayout: Layout;
  /**
   * Names of the classes to train, or one of `19`, `16` and `13` for those that results on Cityscapes are
   * published for; null for those that the data sets have. The built-in benchmark has its own.
   */
  classes: string[] | null;
  /** Images of each domain in a step. */
  batch: number;
  /** Height of a training crop in pixels. */
  cropHeight: number;
  /** Width of a training crop in pixels. */
  cropWidth: number;
  /** Length in pixels that an image's long side is resized to at scale 1. */
  longSide: number;
  /** Range that the random scale of a crop is drawn from, evenly. */
  scales: [least: number, most: number];
  /** Chance of a horizontal flip. */
  flip: number;
  /**
   * What the strong view does to the weak one: `randaugment` is the published pool of fourteen
   * operations, in 8 bits on the decoding threads; `simple` is gentler, and made on the GPU.
   */
  strongView: "simple" | "randaugment";
  /** Size of the built-in benchmark, where it is used. */
  streets: StreetsConfig;
}

/** The built-in benchmark, written as PNG files where no folders are given. */
export interface StreetsConfig {
  /** Folder that it is written to, and reused from. */
  directory: string;
  /** Seed of the images; the run's own seed leaves them as they are. */
  seed: number;
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
  /** Labelled source images. */
  sourceTrain: number;
  /** Target images to adapt to. */
  targetTrain: number;
  /** Target images to measure on. */
  targetVal: number;
}

/** What every stage sets: its length and its SGD with a polynomial schedule. */
export interface StageConfig {
  /** Optimiser updates. */
  steps: number;
  /** Learning rate of the backbone at the first step. */
  learningRate: number;
  /** The head's learning rate over the backbone's. */
  headFactor: number;
  /** Momentum of SGD. */
  momentum: number;
  /** L2 penalty of SGD. */
  weightDecay: number;
  /** Step at which the learning rate would reach zero. */
  scheduleSteps: number;
  /** Power of the schedule. */
  power: number;
  /** Steps over which the learning rate first rises linearly; 0 for none. */
  rampSteps: number;
}

/** Adversarial warm-up in the output space. */
export interface WarmUpConfig extends StageConfig {
  /** Weight of the adversarial loss. */
  adversarialWeight: number;
  /** The adversarial loss. */
  gan: "least-squares" | "bce";
  /** Adam's learning rate for the discriminator. */
  discriminatorLearningRate: number;
  /** Channels of the discriminator's first convolution. */
  discriminatorPlanes: number;
}

/** Stage 1: denoised pseudo labels and target structure. Equations are the paper's. */
export interface Stage1Config extends StageConfig {
  /** Weight of cross entropy in the symmetric loss, α (eq. 6). */
  alpha: number;
  /** Weight of reverse cross entropy, β (eq. 6). */
  beta: number;
  /** Weight of the structure loss, γ1 (eq. 11). */
  gamma1: number;
  /** Weight of the regulariser, γ2 (eq. 11). */
  gamma2: number;
  /** Temperature of the prototype assignments, τ (eq. 3, 7 and 8). */
  temperature: number;
  /** What the prototypes weigh: p_{t,0}, fixed for the stage (paper), or the encoder's prediction of now. */
  softLabels: "fixed" | "moving";
  /** Weights of the soft labels: nearness to prototypes (paper), the encoder's own prediction, or none. */
  reweighting: "prototypes" | "prediction" | "none";
  /** Denoised labels: the most likely class (paper), or probabilities of all classes. */
  labels: "hard" | "soft";
  /** Pixels whose denoised label is less sure have none; 0 in the paper. */
  threshold: number;
  /** The view on which the labels are learnt: strong, or weak as in the released code's stage 1. */
  studentView: "weak" | "strong";
  /** Weight of a prototype's old value, λ (eq. 5). */
  prototypeDecay: number;
  /** Weight of the momentum encoder's old value. */
  emaDecay: number;
  /** What the momentum encoder's batch norms use: the batch (official) or running statistics. */
  encoderStatistics: "batch" | "running";
  /**
   * What the network's batch norms know: the statistics of both domains, or of the target alone. The
   * warm-up model's are then estimated anew on the target images (AdaBN, Li et al., 2016).
   */
  statistics: "both" | "target";
  /** Whether structure loss and regulariser are means over pixels (paper), or over classes too. */
  normalisation: Variant;
  /** Prototypes start from a mean over pixels (paper), or over the class means of images. */
  prototypeStart: Variant;
  /** Prototypes move once a step (paper), or once an image, in turn. */
  prototypeUpdate: Variant;
}

/** Self-supervised pre-training of a backbone that students start from (SimCLR). */
export interface SelfSupervisedConfig extends StageConfig {
  /** Temperature of the softmax over similarities, τ. */
  temperature: number;
  /** Channels that features are projected to before they are compared. */
  projectionChannels: number;
  /** Places that are compared in an image; 0 compares whole images, as SimCLR does. */
  places: number;
  /**
   * A file with a backbone that someone has pre-trained, such as SimCLRv2's: students take it, and the stage
   * is not run. Null to train one.
   */
  weights: string | null;
}

/** The first weights of a student. */
export type StudentStart = "self-supervised" | "supervised" | "teacher" | "random";

/** Stages 2 and 3: distillation from the network of the stage before. */
export interface DistilConfig extends StageConfig {
  /** Pixels that the teacher is less sure of have no pseudo label. */
  threshold: number;
  /** Share of what is predicted as a class that is labelled whatever the threshold; 0 in the paper. */
  keep: number;
  /** Weight of the divergence from the teacher, β (eq. 12). */
  beta: number;
  /** What the teacher sees: the weak view (paper), or the student's strong view (official). */
  teacherView: "weak" | "strong";
  /** How the divergence is computed: as such (paper), or as the released code does. */
  formula: Variant;
  /**
   * What the batch norms of teacher and student know: the statistics of both domains, or of the target
   * alone. The teacher's are then estimated anew on the target images (AdaBN, Li et al., 2016), unless the
   * stage before has left it those.
   */
  statistics: "both" | "target";
  /**
   * The student's first weights: the backbone of stage `selfsup` or of stage `source` below a random head,
   * the whole teacher, or random ones.
   */
  studentStart: StudentStart;
  /** Whether the student has a batch norm, `bn_pretrain`, between backbone and head. */
  featureNorm: boolean;
}

/** How stage 1's labels are measured while it runs, against the target's own, which it never learns. */
export interface LabelWatchConfig {
  /** Steps between two measurements; 0 for none. */
  every: number;
  /** Target images that are measured, spread over the data set. */
  images: number;
  /** Target images of which every measurement writes a picture; 0 for none. */
  pictures: number;
}

/** The stages of ProDA in their order, and `oracle`: supervised training on the target's own labels. */
export const STAGES = [
  "source",
  "warmup",
  "stage1",
  "selfsup",
  "stage2",
  "stage3",
  "oracle",
] as const;

/** A stage that `pipeline` can name. */
export type StageName = typeof STAGES[number];

/** Everything that decides what a run computes. */
export interface RunConfig {
  /** Seed of weights, data order, views and dropout. */
  seed: number;
  /** The run folder. */
  out: string;
  /**
   * The stages to run, in this order; each starts from the network of the one before. `selfsup` has a
   * network of its own and passes the other on.
   */
  pipeline: StageName[];
  /**
   * Folder of an earlier run that did the stages before the pipeline: this one takes copies of their
   * checkpoints. Null for none.
   */
  base: string | null;
  /**
   * A file that the first stage starts from: a training's checkpoint, or weights from elsewhere, of the
   * backbone alone where they have no head. Null for random weights.
   */
  init: string | null;
  /** Steps between two lines of the log. */
  logEvery: number;
  /** Steps between two evaluations; a stage's end has one. */
  evalEvery: number;
  /** Measurements of the labels that stage 1 makes. */
  labelWatch: LabelWatchConfig;
  /**
   * What a stage hands on to the next, and is scored by: its last network, or the best of its evaluations
   * by labels or without (see `Selection`).
   */
  select: Selection;
  /** Steps between two checkpoints: what an interruption costs at most; a stage's end has one. */
  checkpointEvery: number;
  /** The network. */
  network: NetworkConfig;
  /** What is given up for less GPU memory. */
  memory: MemoryConfig;
  /** The data. */
  data: DataConfig;
  /** The settings of each stage. */
  stages: {
    /** Supervised training on source. */
    source: StageConfig;
    /** Adversarial warm-up. */
    warmup: WarmUpConfig;
    /** Stage 1 of ProDA. */
    stage1: Stage1Config;
    /** Self-supervised pre-training. */
    selfsup: SelfSupervisedConfig;
    /** Stage 2 of ProDA. */
    stage2: DistilConfig;
    /** Stage 3 of ProDA: stage 2 again, from its network. */
    stage3: DistilConfig;
    /** Supervised training on target labels: what adaptation could reach at best. */
    oracle: StageConfig;
  };
}

/** Some of the keys of a configuration. */
export type Partially<T> = T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Partially<T[K]> | undefined }
  : T;
