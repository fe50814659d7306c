// What each loss of a stage measures, in a sentence.

/** Of cross entropies and divergences with natural logarithms. */
const NATS = "nats";
/** Of what has no unit. */
const NONE = "no unit";

/** By the names that losses have in `metrics.jsonl`. */
const TEXTS: Readonly<Record<string, readonly [unit: string, text: string]>> = {
  source: [NATS, "Cross entropy of labelled source images."],
  adversarial: [NONE, "How far target predictions are from being taken for source ones."],
  discriminator: [NONE, "How badly the discriminator tells source from target predictions."],
  symmetric: [NATS, "Symmetric cross entropy of target images with denoised labels (eq. 6)."],
  structure: [NATS, "How far two views of a target image differ in their prototypes (eq. 9)."],
  regulariser: [NATS, "Low where all classes stay likely: it keeps them from emptying (eq. 10)."],
  masked: [NATS, "Cross entropy of partly hidden target images with the labels of whole ones."],
  distance: [NONE, "Distance of source features of things to those of a frozen backbone."],
  pseudo: [NATS, "Cross entropy of target images with the teacher's sure labels (eq. 12)."],
  distillation: [NATS, "How far the student's probabilities are from the teacher's (eq. 12)."],
};

/**
 * The unit of a loss, and what it measures.
 *
 * @param isPretraining Whether it is of self-supervised pre-training, whose losses are named by domains.
 */
export function textOfLoss(
  name: string,
  isPretraining: boolean,
): { readonly unit: string; readonly text: string } {
  const [unit, text] = isPretraining
    ? [NATS, `How badly two views of an image of the ${name} are found among those of others.`]
    : TEXTS[name] ?? [NONE, "A term of what the stage minimises."];
  return { unit, text };
}
