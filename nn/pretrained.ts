// Weights that others have trained: which names of a file are the network's, and what does not fit.

import { formatShape } from "../kernels/runtime/mod.ts";
import { compareStates, type HostState, type LoadReport, type Module } from "./module.ts";
import { checkFinite } from "./formats/weights.ts";
import { WeightsMismatchError } from "./formats/weights_error.ts";
import type { WeightsFile } from "./formats/weights_file.ts";

/** Names by what the network calls them, as a file calls them. */
export type NameMap = ReadonlyMap<string, string>;

/** Where a network's weights stand in a file. */
export interface FoundNetwork {
  /** What stands before every name: `ResNet101.model_state.` or `module.`; often nothing. */
  readonly prefix: string;
  /** The file's names by the network's own. */
  readonly names: NameMap;
}

/** How to find and load weights. */
export interface PretrainedOptions {
  /**
   * What has to fit: the whole network (default), or the stem and `layer1` to `layer4` only, which
   * passes over what a file has beside them: a classifier, `layer5`, `bn_pretrain`. `available` is
   * the network where the file has a head, and the backbone where it has none.
   */
  readonly part?: "network" | "backbone" | "available" | undefined;
  /** Where the names begin, for files that hold several networks: `network.`. */
  readonly prefix?: string | undefined;
  /** What the file is, for errors: `weights a.pth`. */
  readonly from?: string | undefined;
}

/** A file holds several networks, and none is an obvious choice. */
export class SeveralNetworksError extends WeightsMismatchError {
  /** What stands before the names of each; one of them is to be the option `prefix`. */
  readonly prefixes: readonly string[];

  /**
   * Makes the sentence.
   *
   * @param from What the file is: `weights a.pth`.
   */
  constructor(from: string, prefixes: readonly string[]) {
    const shown = prefixes.map(quoted).join(", ");
    super(
      `Cannot load ${from} as they hold several networks, under ${shown}: give one as the option prefix`,
    );
    this.prefixes = prefixes;
  }
}

const FIRST_BLOCK = /^(|.*\.)layer1\.0\.conv1\.weight$/;
const SIMCLR_STEM = /^((?:(?!net\.)[^.]+\.)*)net\.0\.(?:net\.)?0\.weight$/;
const BACKBONE = /^(conv1|bn1|layer[1-4])\./;
const COUNTER = /(^|\.)num_batches_tracked$/;
/** Where files of several networks have the trained one, in the order of choice. */
const PREFERRED = ["network.", "ResNet101.model_state.", "state_dict.", ""];

/**
 * Finds a ResNet or DeepLab among the names of a file: the official ones and torchvision's, below
 * any prefix such as `module.`, or those of the common PyTorch conversion of SimCLRv2.
 *
 * @throws {SeveralNetworksError} If there are several and none is an obvious choice.
 * @throws {WeightsMismatchError} If there is none.
 */
export function findNetwork(
  file: WeightsFile,
  { prefix, from = "the weights" }: PretrainedOptions = {},
): FoundNetwork {
  const names = [...file.entries.keys()];
  const prefixes = (pattern: RegExp) =>
    names.flatMap((name) => pattern.exec(name)?.[1] ?? [])
      .filter((found) => prefix === undefined || found === prefix);
  for (const [pattern, rename] of [[FIRST_BLOCK, same], [SIMCLR_STEM, fromSimclr]] as const) {
    const found = prefixes(pattern);
    if (found.length === 0) continue;
    const chosen = found.length === 1 ? found[0] : PREFERRED.find((name) => found.includes(name));
    if (chosen === undefined) throw new SeveralNetworksError(from, found);
    const own = names.filter((name) => name.startsWith(chosen) && !COUNTER.test(name));
    return {
      prefix: chosen,
      names: new Map(own.map((name) => [rename(name.slice(chosen.length)), name])),
    };
  }
  const shown = names.slice(0, 3).map(quoted).join(", ") || "nothing";
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : "";
  const under = prefix === undefined ? "" : ` under ${quoted(prefix)}`;
  throw new WeightsMismatchError(
    `Cannot load ${from} as they hold no ResNet${under}: expected names such as ` +
      `layer1.0.conv1.weight, found ${shown}${rest}`,
  );
}

function same(name: string): string {
  return name;
}

/**
 * The conversion nests sequences: `net.G` is the stem or a layer, a block has `projection` and a
 * sequence of convolutions and norms.
 */
function fromSimclr(name: string): string {
  const [group, block, ...rest] = name.split(".").filter((part) => !/^(net|blocks)$/.test(part));
  const value = rest.at(-1) ?? "";
  if (group === "0") return block === "0" ? `conv1.${value}` : `bn1.${value}`;
  if (!/^[1-4]$/.test(group)) return name;
  const place = `layer${group}.${block}`;
  if (rest[0] === "projection") return `${place}.downsample.${rest[1] === "bn" ? 1 : 0}.${value}`;
  const index = Number(rest[0]);
  return `${place}.${index % 2 === 0 ? "conv" : "bn"}${Math.floor(index / 2) + 1}.${value}`;
}

/**
 * Loads weights by name; nothing is loaded unless all names and shapes fit.
 *
 * @returns What was loaded, and what of the file was passed over.
 * @throws {SeveralNetworksError} If the file holds several networks and none is an obvious choice.
 * @throws {WeightsMismatchError} If it holds none, names are missing or unexpected, or shapes
 * differ: a table of them.
 * @throws {WeightsFileError} If an array is damaged, and {@link WeightsValueError} if it holds NaN or
 * an infinity: the network is then of no use.
 */
export function loadPretrained(
  network: Module,
  file: WeightsFile,
  options: PretrainedOptions = {},
): LoadReport {
  const { from = "the weights" } = options;
  const { names } = findNetwork(file, { ...options, from });
  const hasHead = names.keys().some((name) => name.startsWith("layer5."));
  const part = options.part === "available"
    ? (hasHead ? "network" : "backbone")
    : options.part ?? "network";
  const inPart = (name: string) => part === "network" || BACKBONE.test(name);
  const own = new Map([...network.stateDict()].filter(([name]) => inPart(name)));
  const state = stateByNames(file, names);
  const report = compareStates(own, state);
  checkFit({ ...report, unexpected: report.unexpected.filter(inPart) }, `${from} into the ${part}`);
  network.loadStateDict(
    new Map(report.loaded.map((name) => [name, state.get(name) as HostState])),
    { strict: false },
  );
  return report;
}

/** Lines of the table in an error. */
const MAX_ROWS = 12;

/** Refuses weights that do not fit, with a table of what does not. */
function checkFit({ missing, unexpected, misshaped }: LoadReport, what: string): void {
  const problems = {
    missing,
    unexpected,
    misshaped: misshaped.map(({ name, found, expected }) =>
      `${name}  ${formatShape(found)} in the file, ${formatShape(expected)} here`
    ),
  };
  const rows = Object.entries(problems)
    .flatMap(([problem, lines]) => lines.map((line) => `  ${problem.padEnd(10)}  ${line}`));
  if (rows.length === 0) return;
  const counts = Object.entries(problems)
    .flatMap(([problem, { length }]) => length > 0 ? `${length} ${problem}` : []);
  const rest = rows.length > MAX_ROWS ? [`  and ${rows.length - MAX_ROWS} more`] : [];
  throw new WeightsMismatchError(
    [
      `Cannot load ${what} as names or shapes differ, ${counts.join(", ")}:`,
      ...rows.slice(0, MAX_ROWS),
      ...rest,
    ].join("\n"),
  );
}

/** Arrays of a file by the network's names, read one at a time when they are wanted. */
export function stateByNames(file: WeightsFile, names: NameMap): Map<string, HostState> {
  return new Map(
    [...names].map(([name, theirs]) => [name, {
      shape: file.entries.get(theirs)?.shape ?? [],
      floats: () => checkFinite(theirs, file.floats(theirs, { reuse: true })),
    }]),
  );
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
