/**
 * The two domains of the benchmark: the same grammar with two records of ranges. All that
 * separates source from target is written here.
 *
 * @module
 */
import type { Range, StreetRandom } from "./random.ts";

/** Red, green and blue from 0 to 1. */
export type Rgb = readonly [number, number, number];

/** Hue (in turns), saturation and value to draw a colour from. */
export interface Paint {
  readonly hue: Range;
  readonly saturation: Range;
  readonly value: Range;
}

/** How streets are laid out. Lengths in metres. */
export interface SceneLayout {
  /** Height of the camera above the ground. */
  readonly cameraHeight: Range;
  /** Focal length as a share of the image's width. */
  readonly focal: Range;
  /** The horizon's row as a share of the image's height. */
  readonly horizon: Range;
  /** The vanishing point's column as a share of the image's width. */
  readonly centre: Range;
  /** Sideways bend: the street's middle is at `curvature · z²`. */
  readonly curvature: Range;
  readonly roadHalfWidth: Range;
  readonly pavementWidth: Range;
  readonly buildingLength: Range;
  readonly buildingHeight: Range;
  /** Chance that a plot beside the street stays empty. */
  readonly gap: number;
  readonly trees: Range;
  readonly hedge: number;
  readonly posts: Range;
  readonly parkedCars: Range;
  readonly drivingCars: Range;
  /** Chance of a car that crosses the street. */
  readonly crossingCar: number;
  /** Chance of a bus. */
  readonly bus: number;
  readonly people: Range;
  /** Chance that a person is on the carriageway. */
  readonly jaywalking: number;
}

/** What things are made of. */
export interface Materials {
  readonly asphalt: Paint;
  readonly pavement: Paint;
  readonly facades: readonly Paint[];
  readonly leaves: readonly Paint[];
  readonly sky: readonly Paint[];
  readonly posts: readonly Paint[];
  readonly cars: readonly Paint[];
  readonly clothes: readonly Paint[];
  /** Strength of the fine grain of all surfaces. */
  readonly grain: Range;
  /** Strength of large stains. */
  readonly mottle: Range;
  /** Chance that the carriageway is paved with setts. */
  readonly cobbles: number;
  /** Chance of lane marks and crossings. */
  readonly marks: number;
  /** Strength of clouds. */
  readonly clouds: Range;
}

/** How light and the camera turn materials into pixels. */
export interface Imaging {
  /** Light left in the shade. */
  readonly shade: Range;
  /** Length of a shadow as a multiple of the height that casts it. */
  readonly shadowLength: Range;
  /** Strength of the dappled shade below trees. */
  readonly dapple: Range;
  readonly exposure: Range;
  /** Red against blue gain: 0 is neutral, positive is warm. */
  readonly warmth: Range;
  readonly saturation: Range;
  /** Output of black and slope of the response: `lift + contrast · value`. */
  readonly lift: Range;
  readonly contrast: Range;
  /** Weight of each neighbour in the three-tap blur, applied twice in both directions. */
  readonly blur: Range;
  /** Fog: half of the light is lost at this depth. */
  readonly fogDepth: Range;
  readonly fogValue: Range;
  /** Light lost in the corners. */
  readonly vignetting: Range;
  /** Standard deviation of the sensor noise at full signal. */
  readonly noise: Range;
}

/** One domain. */
export interface Domain {
  readonly layout: SceneLayout;
  readonly materials: Materials;
  readonly imaging: Imaging;
}

const ANY_HUE: Range = [0, 1];

/** The clean "rendered" domain that has labels. */
export const SOURCE: Domain = {
  layout: {
    cameraHeight: [1.7, 2.3],
    focal: [0.6, 0.75],
    horizon: [0.4, 0.48],
    centre: [0.44, 0.56],
    curvature: [-0.0006, 0.0006],
    roadHalfWidth: [4.2, 6.5],
    pavementWidth: [2.2, 4],
    buildingLength: [9, 22],
    buildingHeight: [5, 15],
    gap: 0.25,
    trees: [1, 5],
    hedge: 0.3,
    posts: [2, 5],
    parkedCars: [1, 4],
    drivingCars: [1, 2],
    crossingCar: 0.15,
    bus: 0.8,
    people: [5, 10],
    jaywalking: 0.15,
  },
  materials: {
    asphalt: { hue: [0.55, 0.7], saturation: [0, 0.08], value: [0.28, 0.5] },
    pavement: { hue: [0.05, 0.15], saturation: [0.02, 0.15], value: [0.45, 0.72] },
    facades: [
      { hue: [0.02, 0.12], saturation: [0.25, 0.6], value: [0.45, 0.8] },
      { hue: [0.5, 0.65], saturation: [0.05, 0.35], value: [0.4, 0.8] },
      { hue: ANY_HUE, saturation: [0, 0.08], value: [0.35, 0.85] },
      { hue: [0.15, 0.4], saturation: [0.1, 0.35], value: [0.4, 0.75] },
    ],
    leaves: [
      { hue: [0.24, 0.36], saturation: [0.45, 0.75], value: [0.3, 0.6] },
      { hue: [0.18, 0.28], saturation: [0.4, 0.65], value: [0.35, 0.6] },
    ],
    sky: [
      { hue: [0.54, 0.62], saturation: [0.2, 0.6], value: [0.75, 0.98] },
      { hue: [0.5, 0.65], saturation: [0.02, 0.15], value: [0.75, 0.95] },
    ],
    posts: [{ hue: ANY_HUE, saturation: [0, 0.15], value: [0.2, 0.6] }],
    cars: [
      { hue: ANY_HUE, saturation: [0.4, 0.9], value: [0.3, 0.85] },
      { hue: ANY_HUE, saturation: [0, 0.1], value: [0.1, 0.9] },
    ],
    clothes: [
      { hue: ANY_HUE, saturation: [0.3, 0.8], value: [0.2, 0.8] },
      { hue: ANY_HUE, saturation: [0, 0.2], value: [0.1, 0.7] },
    ],
    grain: [0.02, 0.06],
    mottle: [0.02, 0.1],
    cobbles: 0.1,
    marks: 0.85,
    clouds: [0, 0.25],
  },
  imaging: {
    shade: [0.65, 0.8],
    shadowLength: [0.1, 0.35],
    dapple: [0, 0.2],
    exposure: [0.92, 1.08],
    warmth: [-0.03, 0.03],
    saturation: [1, 1.1],
    lift: [0, 0.02],
    contrast: [0.95, 1.05],
    blur: [0, 0.02],
    fogDepth: [300, 600],
    fogValue: [0.85, 0.95],
    vignetting: [0, 0.05],
    noise: [0, 0.004],
  },
};

/** The "camera" domain to adapt to. */
export const TARGET: Domain = {
  layout: {
    cameraHeight: [1.2, 1.6],
    focal: [0.65, 0.85],
    horizon: [0.36, 0.5],
    centre: [0.35, 0.65],
    curvature: [-0.003, 0.003],
    roadHalfWidth: [3.4, 4.8],
    pavementWidth: [2, 3.8],
    buildingLength: [6, 16],
    buildingHeight: [6, 20],
    gap: 0.35,
    trees: [2, 8],
    hedge: 0.4,
    posts: [2, 6],
    parkedCars: [2, 6],
    drivingCars: [0, 2],
    crossingCar: 0.3,
    bus: 0.8,
    people: [4, 10],
    jaywalking: 0.3,
  },
  materials: {
    asphalt: { hue: [0.05, 0.7], saturation: [0, 0.1], value: [0.3, 0.58] },
    pavement: { hue: [0.03, 0.6], saturation: [0, 0.15], value: [0.35, 0.62] },
    facades: [
      { hue: [0.02, 0.12], saturation: [0.1, 0.4], value: [0.35, 0.75] },
      { hue: ANY_HUE, saturation: [0, 0.12], value: [0.3, 0.85] },
      { hue: [0.08, 0.16], saturation: [0.1, 0.35], value: [0.55, 0.85] },
    ],
    leaves: [
      { hue: [0.17, 0.33], saturation: [0.25, 0.55], value: [0.22, 0.52] },
      { hue: [0.06, 0.17], saturation: [0.25, 0.6], value: [0.25, 0.55] },
    ],
    sky: [
      { hue: [0.5, 0.65], saturation: [0, 0.08], value: [0.65, 0.95] },
      { hue: [0.05, 0.12], saturation: [0.03, 0.2], value: [0.7, 0.95] },
      { hue: [0.54, 0.62], saturation: [0.1, 0.35], value: [0.6, 0.9] },
    ],
    posts: [{ hue: ANY_HUE, saturation: [0, 0.2], value: [0.15, 0.6] }],
    cars: [
      { hue: ANY_HUE, saturation: [0.3, 0.8], value: [0.2, 0.7] },
      { hue: ANY_HUE, saturation: [0, 0.1], value: [0.08, 0.85] },
    ],
    clothes: [
      { hue: ANY_HUE, saturation: [0.2, 0.7], value: [0.15, 0.6] },
      { hue: ANY_HUE, saturation: [0, 0.2], value: [0.08, 0.5] },
    ],
    grain: [0.05, 0.12],
    mottle: [0.08, 0.28],
    cobbles: 0.35,
    marks: 0.5,
    clouds: [0.1, 0.5],
  },
  imaging: {
    shade: [0.45, 0.75],
    shadowLength: [0.2, 1],
    dapple: [0.2, 0.5],
    exposure: [0.8, 1.15],
    warmth: [-0.1, 0.12],
    saturation: [0.6, 0.95],
    lift: [0.03, 0.1],
    contrast: [0.75, 1],
    blur: [0.04, 0.18],
    fogDepth: [60, 250],
    fogValue: [0.6, 0.85],
    vignetting: [0.1, 0.4],
    noise: [0.01, 0.035],
  },
};

/** Draws a colour from a range of hue, saturation and value. */
export function drawColour(random: StreetRandom, paint: Paint): Rgb {
  const hue = random.range(paint.hue) * 6;
  const saturation = random.range(paint.saturation);
  const value = random.range(paint.value);
  const channel = (shift: number): number => {
    const position = (hue + shift) % 6;
    return value * (1 - saturation * Math.max(0, Math.min(1, position, 4 - position)));
  };
  return [channel(5), channel(3), channel(1)];
}
