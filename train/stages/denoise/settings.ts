// The settings of stage 1. Equations are the paper's.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";
import { type StageSettings, VARIANTS } from "../common/settings.ts";

/** What stage 1 sets beside what every stage does. */
export const DENOISE_SETTINGS = {
  /** Weight of cross entropy in the symmetric loss, α (eq. 6). */
  alpha: "weight",
  /** Weight of reverse cross entropy, β (eq. 6). */
  beta: "weight",
  /** Weight of the structure loss, γ1 (eq. 11); it is not computed where this is 0. */
  gamma1: "weight",
  /** Weight of the regulariser, γ2 (eq. 11). */
  gamma2: "weight",
  /** Temperature of the prototype assignments, τ (eq. 3, 7 and 8). */
  temperature: "positive",
  /** What the prototypes weigh: p_{t,0}, fixed for the stage (paper), or the encoder's prediction of now. */
  softLabels: ["fixed", "moving"],
  /** Weights of the soft labels: nearness to prototypes (eq. 3), the encoder's own prediction, or all equal. */
  reweighting: ["prototypes", "prediction", "none"],
  /** Denoised labels: the most likely class (eq. 2), or the weighed probabilities of all classes. */
  labels: ["hard", "soft"],
  /** Pixels whose denoised label is less sure than this have none; 0 in the paper. */
  threshold: "share",
  /**
   * The view on which the network learns the labels, and which the regulariser is of: the weak one, as
   * equations 6 and 10 are of p_t and the strong one is the structure loss's (eq. 8), or the strong one.
   */
  studentView: ["weak", "strong"],
  /**
   * What the momentum encoder sees of a target image: its weak view, or, as in the released code, the whole
   * image. The features of a whole image move the prototypes; cut to the weak view, they make its labels.
   */
  encoderView: ["weak", "whole"],
  /** Whether the momentum encoder drops feature channels as a network in training does (official). */
  encoderDropout: "toggle",
  /** How distances move from the weak to the strong view: bilinearly, or nearest (official). */
  distanceWarp: ["bilinear", "nearest"],
  /**
   * Whether what a weak view shows beyond its image is masked: it then moves no prototype and is no part of
   * the structure loss. In the released code it counts in both.
   */
  padding: ["masked", "counted"],
  /** Weight of a prototype's old value, λ (eq. 5). */
  prototypeDecay: "share",
  /** Weight of the momentum encoder's old value. */
  emaDecay: "share",
  /**
   * What the momentum encoder's batch norms use: the statistics of the target batch (official), or the
   * student's running ones.
   */
  encoderStatistics: ["batch", "running"],
  /**
   * Whose images move the running statistics of the network's batch norms, which evaluation uses: both
   * domains', or the target's alone. The warm-up model's are then estimated anew on the target images
   * (AdaBN, Li et al., 2016).
   */
  statistics: ["both", "target"],
  /** Whether structure loss and regulariser are means over pixels (paper), or over classes too. */
  normalisation: VARIANTS,
  /**
   * Prototypes start from the mean over the pixels of whole images (paper), or from the class means of
   * images, in four passes over random views, as a running mean of at most 3000 (official).
   */
  prototypeStart: VARIANTS,
  /** Prototypes move once per step (paper), or once per image, in turn. */
  prototypeUpdate: VARIANTS,
  /**
   * Whether half of the classes of a source image, ⌈n/2⌉ of n, are pasted with their labels onto the view of
   * a target image that labels are learnt on (class mix: DACS, Tranheden et al., 2021, after ClassMix, Olsson
   * et al., 2021). They are pasted onto the weak view; a strong one is then made of both. Pasted pixels are
   * no part of the structure loss.
   */
  mix: ["none", "classes"],
  /**
   * Weight of the cross entropy, with the denoised labels of the image, of a strong view whose patches are
   * partly hidden (masked image consistency, λ^M: MIC, Hoyer et al., 2023, section 3.2; 1 as published); 0
   * for none, which is not computed. It takes a pass of its own through the network, which moves no running
   * statistics of batch norms.
   */
  maskedWeight: "weight",
  /** Share of the patches that are hidden there, r (MIC; 0.7 as published). */
  maskRatio: "share",
  /** Side of a patch in pixels of the crop, b (MIC; 64 as published, for crops of 512 to 1024). */
  maskBlock: "count",
  /**
   * Losses of an image's target labels are multiplied by its share of pixels whose denoised label is surer
   * than this (quality weights, q with τ = 0.968 as published: DACS; DAFormer, Hoyer et al., 2022, eq. 3 and
   * 4); pasted pixels weigh 1. 0 for no weights.
   */
  qualityThreshold: "share",
  /**
   * Weight of the feature distance, λ_FD of DAFormer (Hoyer et al., CVPR 2022, equations 6 to 10), 0.005
   * there: source images do not move the backbone's features of things far from those of a frozen
   * backbone. 0 for none.
   */
  featureDistance: "weight",
  /**
   * The frozen backbone: that of the network that the stage before has left, that of self-supervised
   * pre-training, or of the weights in its place, or that of the file which the run starts from, `init`.
   */
  featuresOf: ["before", "self-supervised", "init"],
  /** Names of the classes that are things; null for those that are known as things in Cityscapes. */
  things: "optionalNames",
} as const satisfies SettingTable;

/** The settings of stage 1. */
export type DenoiseSettings = StageSettings & SettingsOf<typeof DENOISE_SETTINGS>;

/**
 * The choices that the released code makes otherwise, that the paper only compares with, or that later work
 * has added.
 */
export const AS_IN_THE_PAPER = {
  softLabels: "fixed",
  reweighting: "prototypes",
  labels: "hard",
  threshold: 0,
  studentView: "weak",
  encoderView: "weak",
  encoderDropout: false,
  distanceWarp: "bilinear",
  padding: "masked",
  statistics: "both",
  normalisation: "paper",
  prototypeStart: "paper",
  prototypeUpdate: "paper",
  mix: "none",
  maskedWeight: 0,
  maskRatio: 0.7,
  maskBlock: 64,
  qualityThreshold: 0,
  featureDistance: 0,
  featuresOf: "before",
  things: null,
} as const satisfies Partial<DenoiseSettings>;

/** The settings that {@link AS_IN_THE_PAPER} has values for. */
export type DenoiseChoices = Pick<DenoiseSettings, keyof typeof AS_IN_THE_PAPER>;
