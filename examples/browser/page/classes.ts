// The eight classes of streets, in colours that are told apart, also beside each other and by most people
// with a weakness in seeing colours: lightness differs where hue may not.

import type { Classes } from "../protocol.ts";

type Colour = readonly [number, number, number];

/** Names, and the colours of the page. Label ids are those of Cityscapes. */
export const STREETS: Classes = {
  names: ["road", "sidewalk", "building", "vegetation", "sky", "person", "car", "bus"],
  palette: [
    [128, 84, 150],
    [238, 120, 220],
    [108, 104, 100],
    [96, 150, 60],
    [140, 196, 240],
    [226, 40, 60],
    [32, 58, 180],
    [250, 176, 32],
  ],
  labelIds: [7, 8, 11, 21, 23, 24, 26, 28],
};

/** For what has no class. */
export const NONE: Colour = [0, 0, 0];

/** A colour for style sheets. */
export function css([red, green, blue]: Colour): string {
  return `rgb(${red} ${green} ${blue})`;
}

/** The classes of a network in the colours of the page, where they are those of streets. */
export function inPageColours(classes: Classes): Classes {
  const isStreets = classes.names.join() === STREETS.names.join();
  return isStreets ? STREETS : classes;
}
