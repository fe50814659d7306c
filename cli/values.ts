// Values of flags: text to number, or an error that says what the flag takes: the end of a sentence.

import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { KernelClass } from "../kernels/runtime/mod.ts";
import { MOST } from "../train/base/settings.ts";
import { nearest } from "../train/base/nearest.ts";
import { type PresetName, PRESETS } from "../train/config/presets.ts";
import { type Layout, LAYOUT_NAMES } from "../train/data/layouts.ts";
import { type Variant, VARIANTS } from "../train/stages/common/settings.ts";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** `2GiB`, `500 MB`, `4g` or plain bytes. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = UNITS[match?.[2].toLowerCase() ?? "?"];
  const bytes = match === null || unit === undefined ? 0 : Math.floor(Number(match[1]) * unit);
  if (!(bytes > 0)) throw new InvalidArgumentError("expected a size such as 2GiB or 500MB");
  return bytes;
}

/** `40m`, `2h`, `1h30m`, `90s`, in seconds. */
export function parseTime(text: string): number {
  const match = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(
    text.trim(),
  );
  const [hours, minutes, seconds] = (match ?? []).slice(1).map((part) => Number(part ?? 0));
  const time = match ? 3600 * hours + 60 * minutes + seconds : 0;
  if (!(time >= 1)) throw new InvalidArgumentError("expected a time such as 40m, 2h or 1h30m");
  return time;
}

/** A flag that may be given several times: its values in their order. */
export function parseAnother(text: string, before: string[] | undefined): string[] {
  return [...before ?? [], text];
}

/** A whole number of at least `least`, and at most `most`. */
export function parseAtLeast(
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`expected a whole number of at least ${least}`);
    }
    if (value > most) throw new InvalidArgumentError(`expected a whole number of at most ${most}`);
    return value;
  };
}

/** A whole number of at least 1. */
export const parseCount: (text: string) => number = parseAtLeast(1);

/** A number of images. */
export const parseImages: (text: string) => number = parseAtLeast(1, MOST.images);

/** Width or height of an image. */
export const parseSide: (text: string) => number = parseAtLeast(16, MOST.pixels);

/** A whole number of at least 0. */
export const parseSeed: (text: string) => number = parseAtLeast(0);

/** Seeds separated by commas, each once. */
export function parseSeeds(text: string): number[] {
  const seeds = text.split(",").map(parseSeed);
  if (new Set(seeds).size < seeds.length) {
    throw new InvalidArgumentError("expected each seed once");
  }
  return seeds;
}

/** One of `names`; the error suggests the nearest. */
export function parseName<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const found = names.find((name) => name === text);
    if (found === undefined) {
      const meant = nearest(text, names);
      const hint = meant === null ? "" : `, did you mean ${meant}?`;
      throw new InvalidArgumentError(`expected one of ${names.join(", ")}${hint}`);
    }
    return found;
  };
}

/** The name of a layout of data sets. */
export const parseLayout: (text: string) => Layout = parseName(LAYOUT_NAMES);

/** The names of the layouts for a sentence: `gta5, cityscapes, synthia or folder`. */
export const KNOWN_LAYOUTS: string = LAYOUT_NAMES.join(", ").replace(/, (?=[^,]*$)/, " or ");

/** How the device computes convolutions. */
export const parseKernels: (text: string) => KernelClass | "auto" = parseName([
  "auto",
  "direct",
  "shared",
]);

/** A preset. */
export const parsePreset: (text: string) => PresetName = parseName(
  Object.keys(PRESETS) as PresetName[],
);

/** Whom to follow where the paper and its code disagree. */
export const parseRecipe: (text: string) => Variant = parseName(VARIANTS);

/** Words separated by commas; spaces within them stay. */
export function parseWords(text: string): string[] {
  const words = text.split(",").map((word) => word.trim());
  if (words.includes("")) throw new InvalidArgumentError("expected names separated by commas");
  return words;
}

/** Names out of a list, separated by commas. */
export function parseNames<T extends string>(names: readonly T[]): (text: string) => T[] {
  const parse = parseName(names);
  return (text) => text.split(",").map((name) => parse(name.trim()));
}
