/**
 * What a street is made of, in metres. `draw_scene.ts` draws one.
 *
 * `lateral` is the distance from the middle of the street, positive to the right; `depth` the
 * distance ahead of the camera.
 *
 * @module
 */
import type { Rgb } from "./domains.ts";

/** Where the camera stands and looks; `centre` and `horizon` are the vanishing point in pixels. */
export interface Camera {
  height: number;
  focal: number;
  horizon: number;
  centre: number;
}

/** The ground. */
export interface Street {
  /** Lateral position of the camera. */
  offset: number;
  curvature: number;
  halfWidth: number;
  /** Lateral distance of the line that facades stand on. */
  facadeLine: number;
  asphalt: Rgb;
  pavement: Rgb;
  cobbles: boolean;
  marks: boolean;
  /** Depth of a zebra crossing, or 0 for none. */
  crossing: number;
  grain: number;
  mottle: number;
  seed: number;
}

/** A house beside the street, between two depths. */
export interface Building {
  side: -1 | 1;
  near: number;
  far: number;
  setback: number;
  height: number;
  storey: number;
  bay: number;
  colour: Rgb;
  shop: Rgb;
  glass: Rgb;
  seed: number;
}

/** A tree, or a bush where `trunk` is 0. */
export interface Tree {
  lateral: number;
  depth: number;
  trunk: number;
  radius: number;
  colour: Rgb;
  bark: Rgb;
  seed: number;
}

/** A lamp post. */
export interface Post {
  lateral: number;
  depth: number;
  height: number;
  width: number;
  colour: Rgb;
}

/** A car or a bus; `across` means that it crosses the street. */
export interface Vehicle {
  kind: "car" | "bus";
  lateral: number;
  depth: number;
  length: number;
  width: number;
  height: number;
  across: boolean;
  oncoming: boolean;
  colour: Rgb;
  glass: Rgb;
}

/** A pedestrian. */
export interface Person {
  lateral: number;
  depth: number;
  height: number;
  stride: number;
  coat: Rgb;
  legs: Rgb;
  skin: Rgb;
}

/** The sky and the far row of roofs and tree tops. */
export interface Backdrop {
  zenith: Rgb;
  haze: Rgb;
  clouds: number;
  roof: Rgb;
  leaves: Rgb;
  seed: number;
}

/** Everything in an image. */
export interface Scene {
  camera: Camera;
  street: Street;
  backdrop: Backdrop;
  buildings: Building[];
  trees: Tree[];
  posts: Post[];
  vehicles: Vehicle[];
  people: Person[];
}

/** Depth of the backdrop; nothing stands behind it. */
export const FAR = 110;
