/**
 * A data set in its folder: which files it has there, and what they mean, by its layout.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { DataError, describeFailure, shortList } from "../base/data_error.ts";
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
}

/**
 * The images or labels of a split.
 *
 * @throws {DataError} If the folder cannot be read, two files have one name, or there is no image.
 */
export function findFiles(place: Place, kind: FileKind): FoundFiles {
  const { image, label } = place.layout;
  const folder = folderOf(place, kind);
  const found = [...walk(place, folder, "")];
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
  return { paths, ending: chosen[0] };
}

/** Where an image or a label is expected, relative to the root. */
export function folderOf({ root, layout, split }: Place, kind: FileKind): string {
  const { top } = layout[kind];
  const { splits } = layout;
  const hasSplits = splits === "all" ||
    splits !== "none" && splits.some((name) => isSplit(root, layout, name));
  return hasSplits ? join(top, split) : top;
}

/** The splits that there are; one of no name where the layout has none. */
export function splitsOf(root: string, layout: LayoutRecord): string[] {
  const { splits, image: { top } } = layout;
  if (splits === "none") return [""];
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

/** Names below the folder and paths of the files that a layout looks at. */
function* walk(place: Place, folder: string, prefix: string): Generator<[string, string]> {
  const { layout: { depth: [least, most] }, root } = place;
  const depth = prefix.split("/").length - 1;
  for (const { name } of list(place, folder)) {
    // Names that start with a dot are leavings of operating systems, not images.
    if (name.startsWith(".")) continue;
    const path = join(folder, name);
    if (depth < most && isFolder(join(root, path))) {
      yield* walk(place, path, `${prefix}${name}/`);
    } else if (depth >= least) {
      yield [prefix + name, join(root, path)];
    }
  }
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

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
