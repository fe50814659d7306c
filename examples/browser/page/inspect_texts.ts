// What is said of networks and of views, in plain sentences.

import type { NetworkName } from "../protocol.ts";

/** What can be shown of an image. */
export type View = "image" | "label" | "prediction" | "confidence" | "assigned" | "denoised";

/** Views by their names on the page. */
export const VIEWS: readonly (readonly [view: View, name: string])[] = [
  ["image", "Image"],
  ["label", "True label"],
  ["prediction", "Prediction"],
  ["confidence", "Confidence"],
  ["assigned", "Nearest prototype"],
  ["denoised", "Denoised label"],
];

/** What a network has learnt. */
export const KNOWS: Readonly<Record<Exclude<NetworkName, "own">, string>> = {
  source: "This network has learnt labelled, clean, rendered streets and nothing else.",
  warmup: "This network has learnt the clean streets in the colours of the camera's, while a " +
    "second network kept it from telling the two apart.",
  stage1: "This network has also learnt from labels that it made itself of the camera's streets, " +
    "denoised by prototypes.",
  stage3: "This network is the last of five stages: it has learnt twice more from the labels of " +
    "the one before.",
  here: "This is the network that this page is adapting, as it is now.",
};

/** What none of them has learnt. */
export const PHOTOGRAPHS = "It knows eight classes of small drawn streets and has never seen a " +
  "photograph, so of yours expect road, sky and little else.";

/** What each view shows. */
export const EXPLAINED: Readonly<Record<View, string>> = {
  image: "The image as the network gets it.",
  label: "What is truly there. Trainings on the target never see it; it serves to measure.",
  prediction: "The class that the network finds most likely, pixel by pixel.",
  confidence: "How sure the network is: the brighter, the higher the probability of its class.",
  assigned: "The class whose prototype, the mean of its features over the target, is nearest to " +
    "the features of each pixel; no classifier is asked. Made by the warm-up network, whichever is " +
    "chosen above.",
  denoised: "The label that stage 1 learns, a quarter as large as the image: the warm-up " +
    "network's probabilities, times how near each class's prototype is. Where both disagree, the " +
    "prototype may turn the label round. Made by the warm-up network, whichever is chosen above.",
};

/** Where prototypes come from. */
export function ofPrototypes(images: number): string {
  return `Prototypes are of ${images} unlabelled target streets, made when you first asked. This ` +
    `warm-up network is a strong one: after a short warm-up, as in the training above, there is ` +
    `more to put right.`;
}
