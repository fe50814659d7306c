// The sides and ends of cars and buses.

import { BLACK, BUS, CAR, fill, TAIL_LIGHT, WHITE } from "./fill.ts";
import type { Vehicle } from "./scene.ts";

/** Colours a point of one face of a vehicle, `along` and `up` in metres; see `Shader` of `canvas.ts`. */
type Profile = (
  vehicle: Vehicle,
  along: number,
  up: number,
  light: number,
  colour: Float64Array,
) => number;

/** Profile of a car: `along` in metres from the tail. */
function carSide(
  car: Vehicle,
  along: number,
  up: number,
  light: number,
  colour: Float64Array,
): number {
  const { length, height } = car;
  const fromWheel = Math.min(Math.abs(along - 0.18 * length), Math.abs(along - 0.8 * length));
  if (fromWheel * fromWheel + (up - 0.32) * (up - 0.32) < 0.32 * 0.32) {
    return fill(colour, BLACK, light, CAR);
  }
  if (up < 0.22) return 0;
  const share = along / length, belt = 0.58 * height;
  if (up < belt) return fill(colour, car.colour, light * (up < 0.4 ? 0.75 : 1), CAR);
  // The cabin narrows towards the roof.
  const slant = (up - belt) / (height - belt);
  const front = 0.74 - 0.16 * slant, back = car.across ? 0.08 + 0.08 * slant : 0;
  if (share < back || share > front) return 0;
  const pillar = share < back + 0.04 || share > front - 0.04 || Math.abs(share - 0.42) < 0.02;
  const glass = !pillar && up < height - 0.12;
  return fill(colour, glass ? car.glass : car.colour, light, CAR);
}

/** Tail or front of a car: `along` in metres from one flank. */
function carEnd(
  car: Vehicle,
  along: number,
  up: number,
  light: number,
  colour: Float64Array,
): number {
  const { width, height } = car;
  const edge = Math.min(along, width - along), belt = 0.58 * height;
  if (up < 0.24) return edge < 0.26 ? fill(colour, BLACK, light, CAR) : 0;
  if (up < belt) {
    if (up > belt - 0.24 && edge > 0.06 && edge < 0.36) {
      return fill(colour, car.oncoming ? WHITE : TAIL_LIGHT, light, CAR);
    }
    if (up < 0.42) return fill(colour, BLACK, light * 2, CAR);
    return fill(colour, car.colour, light, CAR);
  }
  const inset = 0.08 + 0.16 * (up - belt) / (height - belt);
  if (edge < inset) return 0;
  const glass = edge > inset + 0.1 && up < height - 0.14;
  return fill(colour, glass ? car.glass : car.colour, light, CAR);
}

/** Flank of a bus: a skirt, a band of windows, a roof. */
function busSide(
  bus: Vehicle,
  along: number,
  up: number,
  light: number,
  colour: Float64Array,
): number {
  const { length, height } = bus;
  const fromWheel = Math.min(Math.abs(along - 0.2 * length), Math.abs(along - 0.78 * length));
  if (fromWheel * fromWheel + (up - 0.45) * (up - 0.45) < 0.45 * 0.45) {
    return fill(colour, BLACK, light, BUS);
  }
  if (up < 0.3) return 0;
  const pane = along / 1.4 % 1;
  const glass = up > 0.45 * height && up < 0.82 * height && pane > 0.1 && along > 0.4;
  if (glass) return fill(colour, bus.glass, light, BUS);
  return fill(colour, up > 0.36 * height && up < 0.41 * height ? WHITE : bus.colour, light, BUS);
}

/** Tail or front of a bus: one wide window, a sign above it, lights below. */
function busEnd(
  bus: Vehicle,
  along: number,
  up: number,
  light: number,
  colour: Float64Array,
): number {
  const { width, height } = bus;
  const edge = Math.min(along, width - along);
  if (up < 0.3) return edge < 0.35 ? fill(colour, BLACK, light, BUS) : 0;
  if (up > 0.42 * height && up < 0.8 * height && edge > 0.18) {
    return fill(colour, bus.glass, light, BUS);
  }
  if (up > 0.86 * height && up < 0.95 * height && edge > 0.5) {
    return fill(colour, BLACK, light * 2, BUS);
  }
  if (up > 0.6 && up < 0.85 && edge > 0.1 && edge < 0.45) {
    return fill(colour, bus.oncoming ? WHITE : TAIL_LIGHT, light, BUS);
  }
  return fill(colour, bus.colour, light, BUS);
}

/** The faces of every kind of vehicle. */
export const PROFILES: Readonly<Record<Vehicle["kind"], { side: Profile; end: Profile }>> = {
  car: { side: carSide, end: carEnd },
  bus: { side: busSide, end: busEnd },
};
