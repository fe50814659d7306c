/**
 * The grammar of a street: which things stand where. Both domains draw from it. The order of the draws is
 * part of the benchmark: another order is another benchmark.
 *
 * @module
 */
import { type Domain, drawColour, type Paint, type Rgb } from "./domains.ts";
import type { Range, StreetRandom } from "./random.ts";
import {
  type Backdrop,
  type Building,
  type Camera,
  FAR,
  type Person,
  type Post,
  type Scene,
  type Street,
  type Tree,
  type Vehicle,
} from "./scene.ts";

const GLASS: Paint = { hue: [0.5, 0.65], saturation: [0.02, 0.3], value: [0.12, 0.6] };
const BARK: Paint = { hue: [0.05, 0.1], saturation: [0.1, 0.4], value: [0.15, 0.4] };
const SKIN: Paint = { hue: [0.03, 0.09], saturation: [0.25, 0.6], value: [0.3, 0.85] };
const SHOP: Paint = { hue: [0, 1], saturation: [0, 0.6], value: [0.2, 0.7] };

/** Draws one street of a domain for an image of this size in pixels. */
export function drawScene(
  random: StreetRandom,
  domain: Domain,
  width: number,
  height: number,
): Scene {
  const { layout } = domain;
  const camera = drawCamera(random, domain, width, height);
  const street = drawStreet(random, domain);
  const backdrop = drawBackdrop(random, domain);
  const { buildings, trees } = drawPlots(random, domain, street);
  trees.push(...repeat(random.integer(layout.trees), () => drawStreetTree(random, domain, street)));
  return {
    camera,
    street,
    backdrop,
    buildings,
    trees,
    posts: repeat(random.integer(layout.posts), () => drawPost(random, domain, street)),
    vehicles: drawVehicles(random, domain, street.halfWidth),
    people: repeat(random.integer(layout.people), () => drawPerson(random, domain, street)),
  };
}

function drawAny(random: StreetRandom, paints: readonly Paint[]): Rgb {
  return drawColour(random, random.pick(paints));
}

function drawCamera(
  random: StreetRandom,
  { layout }: Domain,
  width: number,
  height: number,
): Camera {
  return {
    height: random.range(layout.cameraHeight),
    focal: random.range(layout.focal) * width,
    horizon: random.range(layout.horizon) * height,
    centre: random.range(layout.centre) * width,
  };
}

function drawStreet(random: StreetRandom, { layout, materials }: Domain): Street {
  const halfWidth = random.range(layout.roadHalfWidth);
  return {
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
}

function drawBackdrop(random: StreetRandom, { materials }: Domain): Backdrop {
  return {
    zenith: drawAny(random, materials.sky),
    haze: drawAny(random, materials.sky),
    clouds: random.range(materials.clouds),
    roof: drawAny(random, materials.facades),
    leaves: drawAny(random, materials.leaves),
    seed: random.bits(),
  };
}

/** What stands on the plots along both sides: houses and gardens. */
function drawPlots(
  random: StreetRandom,
  domain: Domain,
  street: Street,
): { buildings: Building[]; trees: Tree[] } {
  const { layout } = domain;
  const [buildings, trees]: [Building[], Tree[]] = [[], []];
  for (const side of [-1, 1] as const) {
    for (let near = random.range([-6, 4]); near < FAR - 10;) {
      const far = near + random.range(layout.buildingLength);
      if (random.chance(layout.gap)) {
        trees.push(...drawGarden(random, domain, street, side, near, far));
      } else {
        buildings.push(drawBuilding(random, domain, side, near, far));
      }
      near = far;
    }
  }
  return { buildings, trees };
}

/** An empty plot is a garden: a hedge along the pavement, trees behind it. */
function drawGarden(
  random: StreetRandom,
  domain: Domain,
  { facadeLine }: Street,
  side: -1 | 1,
  near: number,
  far: number,
): Tree[] {
  const trees: Tree[] = [];
  const hedged = random.chance(domain.layout.hedge);
  for (let depth = Math.max(near + 1, 3); depth < far; depth += 1.6) {
    const behind = facadeLine + random.range([0.8, 6]);
    if (hedged) {
      const radius = random.range([0.8, 1.3]);
      trees.push(drawTree(random, domain, side * (facadeLine + 0.7), depth, 0, radius));
    }
    if (random.chance(0.35)) {
      const radius = random.range([1.4, 3]);
      trees.push(drawTree(random, domain, side * behind, depth, random.range([1, 2.5]), radius));
    }
  }
  return trees;
}

/** A tree at the kerb. */
function drawStreetTree(random: StreetRandom, domain: Domain, { halfWidth }: Street): Tree {
  const lateral = random.sign() * (halfWidth + random.range([0.8, 1.4]));
  const radius = random.range([1.1, 2.2]);
  const depth = drawDepth(random, [5, 45]);
  return drawTree(random, domain, lateral, depth, random.range([1.6, 2.6]), radius);
}

function drawTree(
  random: StreetRandom,
  { materials }: Domain,
  lateral: number,
  depth: number,
  trunk: number,
  radius: number,
): Tree {
  return {
    lateral,
    depth,
    trunk,
    radius,
    colour: drawAny(random, materials.leaves),
    bark: drawColour(random, BARK),
    seed: random.bits(),
  };
}

function drawPost(random: StreetRandom, { materials }: Domain, { halfWidth }: Street): Post {
  return {
    lateral: random.sign() * (halfWidth + random.range([0.3, 0.7])),
    depth: drawDepth(random, [4, 26]),
    height: random.range([3.5, 7]),
    width: random.range([0.16, 0.34]),
    colour: drawAny(random, materials.posts),
  };
}

function drawPerson(
  random: StreetRandom,
  { layout, materials }: Domain,
  { halfWidth, facadeLine }: Street,
): Person {
  const walks = halfWidth + random.range([0.5, facadeLine - halfWidth - 0.2]);
  return {
    lateral: random.chance(layout.jaywalking)
      ? random.range([-halfWidth, halfWidth])
      : random.sign() * walks,
    depth: drawDepth(random, [3.5, 12]),
    height: random.range([1.5, 1.95]),
    stride: random.range([0.05, 0.3]),
    coat: drawAny(random, materials.clothes),
    legs: drawAny(random, materials.clothes),
    skin: drawColour(random, SKIN),
  };
}

function drawBuilding(
  random: StreetRandom,
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
    colour: drawAny(random, materials.facades),
    shop: drawColour(random, SHOP),
    glass: drawColour(random, GLASS),
    seed: random.bits(),
  };
}

function drawVehicles(
  random: StreetRandom,
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
      colour: drawAny(random, materials.cars),
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
function drawDepth(random: StreetRandom, [near, far]: Range): number {
  return 1 / random.range([1 / far, 1 / near]);
}

function repeat<T>(count: number, draw: () => T): T[] {
  return Array.from({ length: count }, draw);
}
