/**
 * The picture under construction and its one primitive, an upright face between two points of the
 * ground. Painting order is far to near, so there is no depth test.
 *
 * @module
 */
import { type Camera, FAR, type Street } from "./scene.ts";

/** A point on the ground: see `scene.ts` for the two coordinates. */
export type GroundPoint = readonly [lateral: number, depth: number];

/**
 * Colours one point of a face: writes red, green and blue to `colour` and returns the label id, or
 * returns 0 to leave the pixel. `along` runs in metres from the face's first end, `height` from
 * the ground.
 */
export type Shader = (along: number, height: number, colour: Float64Array) => number;

/** Nothing nearer than this is painted. */
const NEAR = 1.2;

/** Colours, label ids and depths of the pixels of one image. */
export class Canvas {
  /** Linear red, green, blue, three values per pixel. */
  readonly colour: Float32Array;
  /** Cityscapes label ids. */
  readonly label: Uint8Array<ArrayBuffer>;
  /** Metres ahead of the camera. */
  readonly depth: Float32Array;
  readonly #scratch = new Float64Array(3);

  /** An empty picture. */
  constructor(
    readonly width: number,
    readonly height: number,
    readonly camera: Camera,
    readonly street: Street,
  ) {
    this.colour = new Float32Array(width * height * 3);
    this.label = new Uint8Array(width * height);
    this.depth = new Float32Array(width * height).fill(FAR);
  }

  /** Lateral position that is straight ahead of the camera at this depth. */
  ahead(depth: number): number {
    return this.street.offset - this.street.curvature * depth * depth;
  }

  /** Calls `shade(lateral, depth, colour)` for every pixel of ground. */
  paintGround(shade: (lateral: number, depth: number, colour: Float64Array) => number): void {
    const { width, height, camera } = this;
    for (let y = Math.max(0, Math.ceil(camera.horizon)); y < height; y++) {
      const depth = camera.focal * camera.height / (y + 0.5 - camera.horizon);
      if (depth > FAR) continue;
      const ahead = this.ahead(depth), scale = depth / camera.focal;
      for (let x = 0; x < width; x++) {
        const lateral = ahead + (x + 0.5 - camera.centre) * scale;
        this.#put(y * width + x, shade(lateral, depth, this.#scratch), depth);
      }
    }
  }

  /** Darkens a rectangle of the ground. */
  shadeGround([left, near]: GroundPoint, [right, far]: GroundPoint, factor: number): void {
    const { width, height, camera } = this;
    const rise = camera.focal * camera.height;
    const top = Math.max(0, Math.ceil(camera.horizon + rise / far - 0.5));
    const bottom = Math.min(height, camera.horizon + rise / Math.max(near, NEAR) - 0.5);
    for (let y = top; y < bottom; y++) {
      const depth = rise / (y + 0.5 - camera.horizon);
      const ahead = this.ahead(depth), scale = camera.focal / depth;
      const from = Math.max(0, Math.ceil(camera.centre + (left - ahead) * scale - 0.5));
      const to = Math.min(width, camera.centre + (right - ahead) * scale - 0.5);
      for (let at = y * width + from; at < y * width + to; at++) {
        for (let c = 0; c < 3; c++) this.colour[at * 3 + c] *= factor;
      }
    }
  }

  /** Paints the upright face over the line between two ground points, up to `top` metres. */
  paintFace(from: GroundPoint, to: GroundPoint, top: number, shade: Shader): void {
    const { width, height, camera } = this;
    let [nearEnd, farEnd] = from[1] <= to[1] ? [from, to] : [to, from];
    if (farEnd[1] < NEAR) return;
    const deep = farEnd[1] - nearEnd[1];
    let skipped = 0;
    if (nearEnd[1] < NEAR) {
      skipped = (NEAR - nearEnd[1]) / deep;
      nearEnd = [nearEnd[0] + (farEnd[0] - nearEnd[0]) * skipped, NEAR];
    }
    // Screen columns and inverse depths of both ends: inverse depth is linear on the screen.
    const column = ([lateral, depth]: GroundPoint): number =>
      camera.centre + (lateral - this.ahead(depth)) * camera.focal / depth;
    const start = column(nearEnd), end = column(farEnd);
    if (start === end) return;
    const inverseStart = 1 / nearEnd[1],
      inverseSlope = (1 / farEnd[1] - inverseStart) /
        (end - start);
    const across = Math.abs(to[0] - from[0]);
    const firstColumn = Math.max(0, Math.ceil(Math.min(start, end) - 0.5));
    const lastColumn = Math.min(width - 1, Math.ceil(Math.max(start, end) - 0.5) - 1);
    for (let x = firstColumn; x <= lastColumn; x++) {
      const depth = 1 / (inverseStart + inverseSlope * (x + 0.5 - start));
      const scale = depth / camera.focal;
      let along: number;
      if (deep > 0) {
        const share = (depth - nearEnd[1]) / (farEnd[1] - nearEnd[1]);
        along = Math.max(deep, across) * (skipped + (1 - skipped) * share);
      } else along = across * (x + 0.5 - start) / (end - start);
      const groundRow = camera.horizon + camera.height / scale;
      const firstRow = Math.max(0, Math.ceil(groundRow - top / scale - 0.5));
      const lastRow = Math.min(height - 1, Math.ceil(groundRow - 0.5) - 1);
      for (let y = firstRow; y <= lastRow; y++) {
        const label = shade(along, (groundRow - y - 0.5) * scale, this.#scratch);
        if (label !== 0) this.#put(y * width + x, label, depth);
      }
    }
  }

  /** Paints a face turned to the camera, `width` metres wide around a point of the ground. */
  paintBoard([lateral, depth]: GroundPoint, width: number, top: number, shade: Shader): void {
    const from: GroundPoint = [lateral - width / 2, depth];
    this.paintFace(from, [lateral + width / 2, depth], top, shade);
  }

  /** Sets a pixel that belongs to the sky. */
  paintSky(at: number, label: number, red: number, green: number, blue: number): void {
    this.#scratch[0] = red;
    this.#scratch[1] = green;
    this.#scratch[2] = blue;
    this.#put(at, label, FAR);
  }

  #put(at: number, label: number, depth: number): void {
    this.label[at] = label;
    this.depth[at] = depth;
    this.colour[at * 3] = this.#scratch[0];
    this.colour[at * 3 + 1] = this.#scratch[1];
    this.colour[at * 3 + 2] = this.#scratch[2];
  }
}
