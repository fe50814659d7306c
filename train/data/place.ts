/**
 * A data set in its folder: which files it has there, and what they mean, by its layout.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { DataError, shortList } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { entriesOf } from "../base/folders.ts";
import { CLASS_FILE, missingClassFile, readClassFile } from "./class_file.ts";
import type { ClassSet } from "./class_set.ts";
import type { LabelCode } from "./label_code.ts";
import { type LayoutRecord, LAYOUTS } from "./layouts.ts";

/** A data set, or a split of one. */
export interface Place {
  /** The folder that holds the layout. */
  root: string;
  /** How the files lie in it. */
  layout: LayoutRecord;
  /** `train`, `val` …; used by layouts that have splits. */
  split: string;
}

/** An image or a label. */
export type FileKind = "image" | "label";

/** Files of one kind. */
export interface FoundFiles {
  /** Paths by item name. */
  readonly paths: ReadonlyMap<string, string>;
  /** What the names end in, as the layout spells it. */
  readonly ending: string;
  /** Links to folders that were left out, as their files are listed under another name. */
  readonly skipped: readonly string[];
}

/**
 * The images or labels of a split.
 *
 * @throws {DataError} If the folder cannot be read, two files have one name, or there is no image.
 */
export function findFiles(place: Place, kind: FileKind): FoundFiles {
  const { image, label } = place.layout;
  const folder = folderOf(place, kind);
  const { files: found, skipped } = walk(place, folder);
  const isLabel = kind === "label";
  const labelEndings = Object.keys(label.codes);
  const chosen = isLabel
    ? [
      labelEndings.find((ending) => found.some(([name]) => hasEnding(name, ending))) ??
        labelEndings[0],
    ]
    : image.endings;
  const paths = new Map<string, string>();
  for (const [name, path] of found) {
    const ending = chosen.find((ending) => hasEnding(name, ending));
    if (ending === undefined) continue;
    const stem = name.slice(0, -ending.length);
    const other = paths.get(stem);
    if (other !== undefined) {
      throw new DataError(
        `Cannot use data set ${place.root} as ${other} and ${path} have one name: expected one file ` +
          `per ${kind}; remove one of them`,
      );
    }
    paths.set(stem, path);
  }
  if (paths.size === 0 && !isLabel) {
    const ending = chosen.map((ending) => `*${ending}`).join(", ");
    const names = list(place, folder).map(({ name }) => name);
    throw new DataError(
      `Cannot open data set ${place.root} as ${folder} has no ${ending}: found ` +
        `${shortList(names)}; ${wayOut(place)}`,
    );
  }
  return { paths, ending: chosen[0], skipped };
}

/** Where an image or a label is expected, relative to the root. */
export function folderOf({ root, layout, split }: Place, kind: FileKind): string {
  const { top } = layout[kind];
  const { splits } = layout;
  const hasSplits = typeof splits !== "string"
    ? splits.some((name) => isSplit(root, layout, name))
    : splits === "beside train"
    ? split !== "train" && split !== "" && isSplit(root, layout, split)
    : splits === "all";
  return hasSplits ? join(top, split) : top;
}

/** The splits that there are; one of no name where the layout has none. */
export function splitsOf(root: string, layout: LayoutRecord): string[] {
  const { splits, image: { top } } = layout;
  if (splits === "none") return [""];
  if (splits === "beside train") return isSplit(root, layout, "val") ? ["train", "val"] : [""];
  const names = splits === "all"
    ? list({ root, layout, split: "" }, top).map(({ name }) => name)
    : splits;
  const found = names.filter((name) => isSplit(root, layout, name));
  return found.length === 0 && splits !== "all" ? [""] : found;
}

function isSplit(root: string, { image: { top } }: LayoutRecord, name: string): boolean {
  return isFolder(join(root, top, name));
}

/** Whether a split has a folder for labels. */
export function hasLabels(place: Place): boolean {
  return isFolder(join(place.root, folderOf(place, "label")));
}

/**
 * The classes that a data set has, null for one of a user's own without a class file.
 *
 * @throws {DataError} If the class file cannot be used.
 */
export function classesOf(root: string, { classes }: LayoutRecord): ClassSet | null {
  return classes ?? readClassFile(root)?.classes ?? null;
}

/**
 * What label files hold.
 *
 * @param ending From {@link findFiles}.
 * @throws {DataError} If it cannot be known as there is no class file.
 */
export function labelCodeOf({ root, layout }: Place, ending: string): LabelCode {
  const code = layout.label.codes[ending] ?? readClassFile(root)?.code;
  if (!code) throw missingClassFile(root);
  return code;
}

function hasEnding(name: string, ending: string): boolean {
  return name.toLowerCase().endsWith(ending.toLowerCase());
}

/** A folder that is to be listed. */
interface Stop {
  /** Relative to the root. */
  readonly folder: string;
  /** What stands before the names of its files. */
  readonly prefix: string;
  /** Folders between it and the first. */
  readonly depth: number;
}

/**
 * The files that a layout looks at: their names below the folder, and their paths. Every folder is
 * listed once, under its own name where it has one there: a link to one that is listed already, which
 * could go round in circles, is left out.
 */
function walk(place: Place, folder: string): { files: [string, string][]; skipped: string[] } {
  const { layout: { depth: [least, most] }, root } = place;
  const files: [string, string][] = [];
  const skipped: string[] = [];
  const listed = new Set<string>();
  const [stops, links]: [Stop[], Stop[]] = [[{ folder, prefix: "", depth: 0 }], []];
  for (let at = 0; at < stops.length; at++) {
    const { folder, prefix, depth } = stops[at];
    const real = realPath(join(root, folder));
    if (listed.has(real)) skipped.push(join(root, folder));
    const entries = listed.has(real) ? [] : list(place, folder);
    listed.add(real);
    for (const { name, isDirectory, isSymlink } of entries) {
      // Names that start with a dot are leavings of operating systems, not images.
      if (name.startsWith(".")) continue;
      const path = join(folder, name);
      const inside = { folder: path, prefix: `${prefix}${name}/`, depth: depth + 1 };
      if (depth < most && isDirectory) stops.push(inside);
      else if (depth < most && isSymlink && isFolder(join(root, path))) links.push(inside);
      else if (depth >= least) files.push([prefix + name, join(root, path)]);
    }
    // Links come last, so that a folder keeps its own name.
    if (at === stops.length - 1) stops.push(...links.splice(0, 1));
  }
  return { files, skipped };
}

function list({ root, layout, split }: Place, folder: string): Deno.DirEntry[] {
  const path = join(root, folder);
  try {
    return entriesOf(path);
  } catch (error) {
    throw new DataError(
      `Cannot open data set ${root} as folder ${path} cannot be read: ` +
        `${describeFailure(error)}${siblings(path)}; ${wayOut({ root, layout, split })}`,
      { cause: error },
    );
  }
}

/** What stands where a missing folder was expected, such as the other splits. */
function siblings(path: string): string {
  try {
    const names = entriesOf(dirname(path)).map(({ name }) => name);
    return `, found ${shortList(names)} beside it`;
  } catch {
    return "";
  }
}

function wayOut({ root, layout }: Place): string {
  const isThere = (path: string) => {
    try {
      Deno.statSync(join(root, path));
      return true;
    } catch {
      return false;
    }
  };
  if (isThere(layout.image.top)) return "complete the data set or choose another split";
  const other = LAYOUTS.findLast(({ classes, image }) =>
    isThere(image.top) && (classes !== null || isThere(CLASS_FILE))
  );
  return other
    ? `choose the ${other.name} layout`
    : `give the root of a data set in the ${layout.name} layout`;
}

/** Where a path leads; itself where that cannot be known, as listing it then says why. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
