// What a painted point is: its colour and the label id that it stands for.

import { CLASSES, STREETS_TRAIN_IDS } from "../data/classes.ts";
import type { Rgb } from "./domains.ts";

/** Label ids of the classes that are drawn. */
export const [ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, PERSON, CAR, BUS] = STREETS_TRAIN_IDS.map(
  (trainId) => CLASSES[trainId].labelId,
);

/** Lamp posts are too thin to be learnt: id 18, pole group, is one that training ignores. */
export const POLE_GROUP = 18;

/** Of road marks, lamps and stripes. */
export const WHITE: Rgb = [0.85, 0.85, 0.82];
/** Of tyres and of what is unlit. */
export const BLACK: Rgb = [0.06, 0.06, 0.07];
/** Of lamps seen from behind. */
export const TAIL_LIGHT: Rgb = [0.6, 0.08, 0.06];

/** Paints a point and returns its label. */
export function fill(colour: Float64Array, paint: Rgb, light: number, label: number): number {
  colour[0] = paint[0] * light;
  colour[1] = paint[1] * light;
  colour[2] = paint[2] * light;
  return label;
}
