/**
 * The grammar of a street: which things stand where, in metres. Both domains draw from it.
 *
 * `lateral` is the distance from the middle of the street, positive to the right; `depth` the
 * distance ahead of the camera.
 *
 * @module
 */
import { type Domain, drawColour, type Paint, type Rgb } from "./domains.ts";
import type { Range, SceneRandom } from "./random.ts";

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

const GLASS: Paint = { hue: [0.5, 0.65], saturation: [0.02, 0.3], value: [0.12, 0.6] };
const BARK: Paint = { hue: [0.05, 0.1], saturation: [0.1, 0.4], value: [0.15, 0.4] };
const SKIN: Paint = { hue: [0.03, 0.09], saturation: [0.25, 0.6], value: [0.3, 0.85] };
const SHOP: Paint = { hue: [0, 1], saturation: [0, 0.6], value: [0.2, 0.7] };

/** Draws one street of a domain for an image of this size in pixels. */
export function drawScene(
  random: SceneRandom,
  domain: Domain,
  width: number,
  height: number,
): Scene {
  const { layout, materials } = domain;
  const any = (paints: readonly Paint[]): Rgb => drawColour(random, random.pick(paints));
  const camera: Camera = {
    height: random.range(layout.cameraHeight),
    focal: random.range(layout.focal) * width,
    horizon: random.range(layout.horizon) * height,
    centre: random.range(layout.centre) * width,
  };
  const halfWidth = random.range(layout.roadHalfWidth);
  const street: Street = {
    // Right-hand traffic: the camera drives in the right half.
    offset: halfWidth * random.range([0.15, 0.5]),
    curvature: random.range(layout.curvature),
    halfWidth,
    facadeLine: halfWidth + random.range(layout.pavementWidth),
    asphalt: drawColour(random, materials.asphalt),
    pavement: drawColour(random, materials.pavement),
    cobbles: random.chance(materials.cobbles),
    marks: random.chance(materials.marks),
    crossing: random.chance(0.4) ? random.range([6, 18]) : 0,
    grain: random.range(materials.grain),
    mottle: random.range(materials.mottle),
    seed: random.bits(),
  };
  const backdrop: Backdrop = {
    zenith: any(materials.sky),
    haze: any(materials.sky),
    clouds: random.range(materials.clouds),
    roof: any(materials.facades),
    leaves: any(materials.leaves),
    seed: random.bits(),
  };
  const buildings: Building[] = [];
  const trees: Tree[] = [];
  const tree = (lateral: number, depth: number, trunk: number, radius: number): Tree => ({
    lateral,
    depth,
    trunk,
    radius,
    colour: any(materials.leaves),
    bark: drawColour(random, BARK),
    seed: random.bits(),
  });
  for (const side of [-1, 1] as const) {
    for (let near = random.range([-6, 4]); near < FAR - 10;) {
      const far = near + random.range(layout.buildingLength);
      if (random.chance(layout.gap)) {
        // An empty plot is a garden: a hedge along the pavement, trees behind it.
        const hedged = random.chance(layout.hedge);
        for (let depth = Math.max(near + 1, 3); depth < far; depth += 1.6) {
          const behind = street.facadeLine + random.range([0.8, 6]);
          if (hedged) {
            trees.push(tree(side * (street.facadeLine + 0.7), depth, 0, random.range([0.8, 1.3])));
          }
          if (random.chance(0.35)) {
            const radius = random.range([1.4, 3]);
            trees.push(tree(side * behind, depth, random.range([1, 2.5]), radius));
          }
        }
      } else {
        buildings.push(drawBuilding(random, domain, side, near, far));
      }
      near = far;
    }
  }
  for (let count = random.integer(layout.trees); count > 0; count--) {
    const lateral = random.sign() * (halfWidth + random.range([0.8, 1.4]));
    const radius = random.range([1.1, 2.2]);
    trees.push(tree(lateral, drawDepth(random, [5, 45]), random.range([1.6, 2.6]), radius));
  }
  return {
    camera,
    street,
    backdrop,
    buildings,
    trees,
    posts: repeat(random.integer(layout.posts), () => ({
      lateral: random.sign() * (halfWidth + random.range([0.3, 0.7])),
      depth: drawDepth(random, [4, 26]),
      height: random.range([3.5, 7]),
      width: random.range([0.16, 0.34]),
      colour: any(materials.posts),
    })),
    vehicles: drawVehicles(random, domain, halfWidth),
    people: repeat(random.integer(layout.people), () => {
      const walks = halfWidth + random.range([0.5, street.facadeLine - halfWidth - 0.2]);
      return {
        lateral: random.chance(layout.jaywalking)
          ? random.range([-halfWidth, halfWidth])
          : random.sign() * walks,
        depth: drawDepth(random, [3.5, 12]),
        height: random.range([1.5, 1.95]),
        stride: random.range([0.05, 0.3]),
        coat: any(materials.clothes),
        legs: any(materials.clothes),
        skin: drawColour(random, SKIN),
      };
    }),
  };
}

function drawBuilding(
  random: SceneRandom,
  { layout, materials }: Domain,
  side: -1 | 1,
  near: number,
  far: number,
): Building {
  return {
    side,
    near,
    far,
    setback: random.chance(0.4) ? random.range([0, 1.5]) : 0,
    height: random.range(layout.buildingHeight),
    storey: random.range([2.6, 3.6]),
    bay: random.range([1.4, 3.2]),
    colour: drawColour(random, random.pick(materials.facades)),
    shop: drawColour(random, SHOP),
    glass: drawColour(random, GLASS),
    seed: random.bits(),
  };
}

function drawVehicles(
  random: SceneRandom,
  { layout, materials }: Domain,
  halfWidth: number,
): Vehicle[] {
  const vehicles: Vehicle[] = [];
  const add = (kind: Vehicle["kind"], lateral: number, depth: number, across: boolean): void => {
    const bus = kind === "bus";
    const vehicle: Vehicle = {
      kind,
      lateral,
      depth,
      length: random.range(bus ? [7, 11] : [3.6, 4.8]),
      width: random.range(bus ? [2.3, 2.5] : [1.65, 1.95]),
      height: random.range(bus ? [2.8, 3.3] : [1.4, 1.75]),
      across,
      oncoming: lateral < 0,
      colour: drawColour(random, random.pick(materials.cars)),
      glass: drawColour(random, GLASS),
    };
    const apart = (other: Vehicle): boolean =>
      Math.abs(other.lateral - lateral) > 2.4 || depth > other.depth + other.length + 0.8 ||
      other.depth > depth + vehicle.length + 0.8;
    if (vehicles.every(apart)) vehicles.push(vehicle);
  };
  if (random.chance(layout.bus)) {
    const side = random.sign();
    const lateral = side * random.range([0.4 * halfWidth, halfWidth - 1.4]);
    add("bus", lateral, drawDepth(random, side < 0 ? [6, 24] : [9, 24]), false);
  }
  for (let count = random.integer(layout.parkedCars); count > 0; count--) {
    add("car", random.sign() * (halfWidth - 1), drawDepth(random, [4, 45]), false);
  }
  for (let count = random.integer(layout.drivingCars); count > 0; count--) {
    const oncoming = random.chance(0.5);
    const depth = drawDepth(random, oncoming ? [6, 45] : [8, 45]);
    add("car", (oncoming ? -1 : 1) * halfWidth * 0.4, depth, false);
  }
  if (random.chance(layout.crossingCar)) {
    add("car", random.range([-halfWidth, halfWidth]), random.range([9, 20]), true);
  }
  return vehicles;
}

// Even on the screen rather than on the ground: near things are as frequent as far ones.
function drawDepth(random: SceneRandom, [near, far]: Range): number {
  return 1 / random.range([1 / far, 1 / near]);
}

function repeat<T>(count: number, draw: () => T): T[] {
  return Array.from({ length: count }, draw);
}
