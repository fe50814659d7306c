/**
 * Paints a scene, far to near: sky, ground, houses, then everything that stands on the ground.
 *
 * @module
 */
import { Canvas, type GroundPoint } from "./canvas.ts";
import type { Imaging } from "./domains.ts";
import {
  BUILDING,
  fill,
  PERSON,
  POLE_GROUP,
  ROAD,
  SIDEWALK,
  SKY,
  VEGETATION,
  WHITE,
} from "./fill.ts";
import { cellNoise, smoothNoise, type StreetRandom } from "./random.ts";
import {
  type Building,
  FAR,
  type Person,
  type Post,
  type Scene,
  type Tree,
  type Vehicle,
} from "./scene.ts";
import { PROFILES } from "./vehicles.ts";

/** Where the sun stands, and what it leaves in the shade. */
interface Light {
  readonly sunSide: -1 | 1;
  readonly shadowLength: number;
  readonly shade: number;
  readonly dapple: number;
}

/** Paints the scene under a light drawn from the domain's ranges. */
export function paintScene(
  random: StreetRandom,
  scene: Scene,
  imaging: Imaging,
  width: number,
  height: number,
): Canvas {
  return new Painter(
    new Canvas(width, height, scene.camera, scene.street),
    scene,
    {
      sunSide: random.sign(),
      shadowLength: random.range(imaging.shadowLength),
      shade: random.range(imaging.shade),
      dapple: random.range(imaging.dapple),
    },
  ).paint();
}

class Painter {
  /** Height of the houses on the sun's side at each metre of depth. */
  readonly #skyline = new Float32Array(FAR + 1);

  constructor(readonly canvas: Canvas, readonly scene: Scene, readonly light: Light) {
    for (const { side, near, far, height } of scene.buildings) {
      if (side === light.sunSide) {
        this.#skyline.fill(height, Math.max(0, Math.round(near)), Math.max(0, Math.round(far)));
      }
    }
  }

  paint(): Canvas {
    const { buildings, trees, posts, vehicles, people } = this.scene;
    this.#paintBackdrop();
    this.#paintGround();
    const things = [
      ...trees.map((tree) => ({ depth: tree.depth, paint: () => this.#paintTree(tree) })),
      ...posts.map((post) => ({ depth: post.depth, paint: () => this.#paintPost(post) })),
      ...vehicles.map((it) => ({ depth: it.depth, paint: () => this.#paintVehicle(it) })),
      ...people.map((person) => ({ depth: person.depth, paint: () => this.#paintPerson(person) })),
      // A house hides what is behind its far end; along its front, things stand before it.
      ...buildings.map((house) => ({ depth: house.far, paint: () => this.#paintBuilding(house) })),
    ];
    things.sort((a, b) => b.depth - a.depth);
    for (const { paint } of things) paint();
    return this.canvas;
  }

  /** Share of the light that reaches a point of the ground. */
  #lightAt(lateral: number, depth: number): number {
    const { sunSide, shadowLength, shade } = this.light;
    const reach = this.#skyline[Math.min(FAR, Math.max(0, Math.round(depth)))] * shadowLength;
    return lateral * sunSide > this.scene.street.facadeLine - reach ? shade : 1;
  }

  #paintBackdrop(): void {
    const { canvas, scene: { backdrop, camera } } = this;
    const { zenith, haze, clouds, roof, leaves, seed } = backdrop;
    // Down to where the backdrop's foot or the ground takes over.
    const foot = Math.min(canvas.height, Math.ceil(camera.horizon) + 4);
    for (let y = 0; y < foot; y++) {
      const rise = Math.max(0, 1 - (y + 0.5) / camera.horizon);
      for (let x = 0; x < canvas.width; x++) {
        const wide = 12 * (x - camera.centre) / canvas.width, tall = 10 * rise;
        const cloud = clouds * (smoothNoise(wide, 3 * tall, seed) - 0.3);
        const mix = (c: number): number => haze[c] + (zenith[c] - haze[c]) * rise + cloud * 0.6;
        canvas.paintSky(y * canvas.width + x, SKY, mix(0), mix(1), mix(2));
      }
    }
    // A row of far roofs and tree tops closes the street.
    canvas.paintBoard([canvas.ahead(FAR), FAR], 4 * FAR, 22, (along, height, colour) => {
      const block = Math.floor(along / 9);
      const green = cellNoise(block, 0, seed) < 0.4;
      const top = 4 + 14 * cellNoise(block, 1, seed);
      const ragged = green ? 4 * smoothNoise(along / 2, 0, seed) : 0;
      if (height > top - ragged) return 0;
      const light = 0.75 + 0.25 * cellNoise(block, 2, seed);
      return fill(colour, green ? leaves : roof, light, green ? VEGETATION : BUILDING);
    });
  }

  #paintGround(): void {
    const { canvas, light, scene: { street, trees, vehicles } } = this;
    const { halfWidth, asphalt, pavement, seed, grain, mottle } = street;
    canvas.paintGround((lateral, depth, colour) => {
      const away = Math.abs(lateral);
      let shade = this.#lightAt(lateral, depth) * (1 +
        grain * 2 * (cellNoise(lateral * 12 | 0, depth * 12 | 0, seed) - 0.5) +
        mottle * 2 * (smoothNoise(lateral * 0.7, depth * 0.35, seed) - 0.5));
      if (away > halfWidth) {
        const kerb = away < halfWidth + 0.25;
        // Slabs of a metre, each a little different, with dark joints near the camera.
        const row = Math.floor(depth), slab = Math.floor(away * 1.2);
        shade *= 0.94 + 0.12 * cellNoise(slab, row, seed + 1);
        if (depth < 14 && (depth - row < 0.08 || away * 1.2 - slab < 0.08)) shade *= 0.82;
        return fill(colour, pavement, kerb ? shade * 1.15 : shade, SIDEWALK);
      }
      if (street.marks && this.#isMarked(lateral, depth)) return fill(colour, WHITE, shade, ROAD);
      if (street.cobbles) {
        const row = Math.floor(depth * 3.3), stone = Math.floor(lateral * 4.2 + (row & 1) * 0.5);
        shade *= 0.85 + 0.3 * cellNoise(stone, row, seed + 2);
      } else if (cellNoise(Math.floor(lateral / 2.3), Math.floor(depth / 4), seed + 3) < 0.08) {
        shade *= 0.8; // a repair patch
      }
      return fill(colour, asphalt, shade, ROAD);
    });
    for (const { lateral, depth, length, width, across } of vehicles) {
      const [wide, long] = across ? [length, width] : [width, length];
      const left = lateral - wide / 2 - 0.15, right = lateral + wide / 2 + 0.15;
      canvas.shadeGround([left, depth - 0.35], [right, depth + long], 0.45);
    }
    for (const { lateral, depth, radius } of trees) {
      const cast = lateral - light.sunSide * radius * light.shadowLength * 3;
      for (let patch = 0; patch < 5; patch++) {
        const shift = radius * (cellNoise(patch, 0, seed) * 2 - 1);
        const left = cast + shift, near = depth + radius * (cellNoise(patch, 1, seed) * 2 - 1);
        canvas.shadeGround([left - 0.7, near - 0.5], [left + 0.7, near + 0.5], 1 - light.dapple);
      }
    }
  }

  #isMarked(lateral: number, depth: number): boolean {
    const { halfWidth, crossing } = this.scene.street;
    const away = Math.abs(lateral);
    const intoCrossing = depth - crossing;
    if (crossing > 0 && intoCrossing > -1.2 && intoCrossing < 3) {
      return intoCrossing > 0 && away < halfWidth - 0.3 && (lateral + 50) % 1 < 0.5;
    }
    if (away < 0.09) return depth % 6 < 3;
    return Math.abs(away - halfWidth + 0.35) < 0.06;
  }

  #paintBuilding(house: Building): void {
    const { canvas, light, scene: { street } } = this;
    const { side, near, far, setback, height, storey, bay, colour: wall, seed } = house;
    const line = side * (street.facadeLine + setback);
    const face = (light: number) => (along: number, up: number, colour: Float64Array): number => {
      const stain = 1 + street.mottle * (smoothNoise(along * 0.5, up * 0.4, seed) - 0.5);
      const speck = cellNoise(along * 8 | 0, up * 8 | 0, seed) - 0.5;
      const shade = light * stain * (1 + street.grain * speck);
      const floor = Math.floor(up / storey), column = Math.floor(along / bay);
      const withinFloor = up / storey - floor, withinBay = along / bay - column;
      if (up > height - 0.35) return fill(colour, wall, shade * 0.7, BUILDING);
      if (floor === 0) {
        const open = withinBay > 0.12 && withinBay < 0.88 && withinFloor < 0.8;
        return fill(colour, open ? house.shop : wall, shade * 0.9, BUILDING);
      }
      const glazed = withinBay > 0.25 && withinBay < 0.75 && withinFloor > 0.25 &&
        withinFloor < 0.8;
      if (!glazed) return fill(colour, wall, shade, BUILDING);
      const lit = 0.7 + 0.6 * cellNoise(column, floor, seed);
      return fill(colour, house.glass, shade * lit, BUILDING);
    };
    const facing = side === light.sunSide ? light.shade : 1;
    // Facades follow the bend in straight pieces.
    for (let from = near; from < far;) {
      const to = Math.min(far, from + 8), begin = from;
      const shade = face(facing);
      canvas.paintFace(
        [line, from],
        [line, to],
        height,
        (along, up, colour) => shade(along + begin - near, up, colour),
      );
      from = to;
    }
    canvas.paintFace([line, near], [line + side * 14, near], height, face(0.8));
  }

  #paintTree({ lateral, depth, trunk, radius, colour: leaves, bark, seed }: Tree): void {
    const light = this.#lightAt(lateral, depth);
    const middle = trunk + radius * 0.9, width = radius * 2.4;
    this.canvas.paintBoard([lateral, depth], width, middle + radius * 1.2, (along, up, colour) => {
      const aside = along - width / 2, above = up - middle;
      const edge = smoothNoise(along * 3.5, up * 3.5, seed);
      const far = (aside * aside + above * above) / (radius * radius);
      if (far < 1.25 - 0.7 * edge) {
        const lump = smoothNoise(along * 6, up * 6, seed + 1);
        // Crowns are bright on top and on the sun's side.
        const slope = 0.12 * (above + this.light.sunSide * aside) / radius;
        return fill(colour, leaves, light * (0.62 + 0.6 * lump + slope), VEGETATION);
      }
      if (up > trunk + radius * 0.4 || Math.abs(aside) > 0.16) return 0;
      return fill(colour, bark, light, VEGETATION);
    });
  }

  #paintPost({ lateral, depth, height, width, colour: paint }: Post): void {
    const light = this.#lightAt(lateral, depth);
    const inward = lateral < 0 ? 1 : -1;
    this.canvas.paintBoard([lateral, depth], 3, height, (along, up, colour) => {
      const aside = (along - 1.5) * inward;
      const shaft = Math.abs(aside) < width / 2 * (up < 1 ? 1.5 : 1);
      const arm = up > height - 0.22 && aside > 0 && aside < 1.4;
      if (!shaft && !arm) return 0;
      return fill(colour, paint, light * (aside * this.light.sunSide > 0 ? 1.1 : 0.8), POLE_GROUP);
    });
  }

  #paintVehicle(vehicle: Vehicle): void {
    const { canvas } = this;
    const { lateral, depth, length, width, height, across } = vehicle;
    const light = this.#lightAt(lateral, depth);
    const { side, end } = PROFILES[vehicle.kind];
    if (across) {
      canvas.paintBoard(
        [lateral, depth],
        length,
        height,
        (along, up, colour) => side(vehicle, along, up, light, colour),
      );
      return;
    }
    const outside = lateral > canvas.ahead(depth) ? -1 : 1;
    const flank = lateral + outside * width / 2;
    const sunny = outside === this.light.sunSide ? 1 : 0.8;
    const near: GroundPoint = [flank, depth], far: GroundPoint = [flank, depth + length];
    canvas.paintFace(
      near,
      far,
      height,
      (along, up, colour) => side(vehicle, along, up, light * sunny, colour),
    );
    canvas.paintBoard(
      [lateral, depth],
      width,
      height,
      (along, up, colour) => end(vehicle, along, up, light * 0.9, colour),
    );
  }

  #paintPerson({ lateral, depth, height, stride, coat, legs, skin }: Person): void {
    const light = this.#lightAt(lateral, depth);
    this.canvas.paintBoard([lateral, depth], 0.9, height, (along, up, colour) => {
      const aside = along - 0.45, share = up / height;
      const head = (aside * aside + (up - height + 0.14) * (up - height + 0.14)) / (0.13 * 0.13);
      if (head < 1.2) return fill(colour, skin, light * (share > 0.96 ? 0.4 : 1), PERSON);
      if (share > 0.86) return 0;
      if (share > 0.45) {
        const half = 0.2 + 0.1 * (0.86 - share);
        return Math.abs(aside) < half + 0.04 ? fill(colour, coat, light, PERSON) : 0;
      }
      const apart = stride * (0.45 - share) / 0.45;
      const leg = Math.min(Math.abs(aside - apart), Math.abs(aside + apart));
      return leg < 0.12 ? fill(colour, legs, light, PERSON) : 0;
    });
  }
}
