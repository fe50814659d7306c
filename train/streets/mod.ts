/**
 * Streets: the built-in benchmark, a pair of procedural domains of small driving scenes. Its
 * specification is in docs/streets.md.
 *
 * @module
 */
export { renderStreet, type StreetImage, type StreetOptions } from "./render.ts";
export { type StreetCounts, type StreetsOptions, writeStreets } from "./write.ts";
