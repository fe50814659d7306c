/**
 * `classes.json`: the classes of a user's own data set, where its layout has none.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import type { ClassSet } from "./class_set.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { readText } from "../base/file_source.ts";
import { type LabelCode, PLAIN_CODE } from "./label_code.ts";

/** The file of 255 classes takes some ten thousand. */
const MAX_BYTES = 2 ** 20;
/** The name of the file. */
export const CLASS_FILE = "classes.json";
const EXAMPLE =
  '{ "classes": [{ "name": "road", "colour": [128, 64, 128], "ids": [1] }, …], "ignore": { "ids": [0] } }';

const byte = v.pipe(
  v.number("a whole number from 0 to 255"),
  v.check(
    (value) => Number.isInteger(value) && value >= 0 && value <= 255,
    "a whole number from 0 to 255",
  ),
);
const colour = v.tuple([byte, byte, byte], "three whole numbers, red, green and blue");
const ids = v.array(byte, "a list of ids from 0 to 255");
const name = v.pipe(
  v.string("a name"),
  v.nonEmpty("a name"),
  v.regex(/^\P{Cc}*$/u, "a name without control characters"),
);
const schema = v.strictObject({
  classes: v.pipe(
    v.array(v.strictObject({ name, colour, ids: v.optional(v.pipe(ids, v.nonEmpty("an id"))) })),
    v.minLength(2, "at least two classes"),
    v.maxLength(IGNORE, `at most ${IGNORE} classes`),
  ),
  ignore: v.optional(v.strictObject({
    ids: v.optional(ids, []),
    colours: v.optional(v.array(colour), []),
  })),
}, `an object such as ${EXAMPLE}`);

/**
 * Reads the classes of a data set: each has a name, a colour, and the ids that stand for it in
 * label files (its place in the list, from 0, unless given); `ignore` lists ids and colours that
 * stand for no class (id 255 unless given).
 *
 * @param root The folder of the data set.
 * @returns null if there is no such file.
 * @throws {DataError} If the file cannot be read, is not as described, or names, ids or colours are
 * given twice.
 */
export function readClassFile(root: string): { classes: ClassSet; code: LabelCode } | null {
  const path = join(root, CLASS_FILE);
  let text: string;
  try {
    text = readText(path, MAX_BYTES);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw failure(path, describeFailure(error));
  }
  const file = parse(text, path);
  const ignored = file.ignore ?? { ids: [255], colours: [] };
  const idsOf = file.classes.map(({ ids }, index) => ids ?? [index]);
  const colours = file.classes.map(({ colour }) => colour);
  const repeated = repeatedIn(file.classes.map(({ name }) => JSON.stringify(name))) ??
    repeatedIn([...idsOf.flat(), ...ignored.ids].map((id) => `id ${id}`)) ??
    repeatedIn([...colours, ...ignored.colours].map((colour) => `colour [${colour.join(", ")}]`));
  if (repeated !== undefined) throw failure(path, `${repeated} stands for two things`);
  // Pixels of ignored colours need an id too; so do those of pseudo labels that are not sure
  // enough.
  const free = Array.from({ length: 256 }, (_, id) => 255 - id)
    .find((id) => !idsOf.some((ids) => ids.includes(id)));
  const unlabelled = ignored.ids[0] ?? free ?? 255;
  const trainIds: number[] = [];
  for (const id of [...ignored.ids, unlabelled]) trainIds[id] = IGNORE;
  idsOf.forEach((ids, index) => ids.forEach((id) => trainIds[id] = index));
  const labelIds = idsOf.map(([first]) => first);
  return {
    classes: {
      names: file.classes.map(({ name }) => name),
      palette: colours,
      trainIds,
      labelIds,
      unlabelled,
      isCityscapes: false,
    },
    code: {
      ...PLAIN_CODE,
      colours: [
        ...colours.map((colour, index) => [colour, labelIds[index]] as const),
        ...ignored.colours.map((colour) => [colour, unlabelled] as const),
      ],
    },
  };
}

function parse(text: string, path: string): v.InferOutput<typeof schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw failure(path, `it is not JSON (${(error as Error).message})`);
  }
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const at = v.getDotPath(issue);
  const found = JSON.stringify(issue.input)?.slice(0, 60) ?? "missing";
  const expected = issue.message.startsWith("Invalid key")
    ? (issue.input === undefined ? "a value" : "no such key, or another value")
    : issue.message.startsWith("Invalid type")
    ? "a list or an object"
    : issue.message;
  throw failure(path, `${at ?? "it"} is ${found}, expected ${expected}`);
}

function repeatedIn(values: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return values.find((value) => seen.size === seen.add(value).size);
}

/** An error that says what the file should hold. */
function failure(path: string, reason: string, wayOut = "correct it"): DataError {
  return new DataError(
    `Cannot use class file ${path} as ${reason}: expected ${EXAMPLE}; ${wayOut}`,
  );
}

/** What is wrong where labels are to be read and there is no class file. */
export function missingClassFile(root: string): DataError {
  return failure(join(root, CLASS_FILE), "it does not exist", "write it");
}
