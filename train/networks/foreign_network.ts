// A network trained elsewhere: its shape, classes and configuration, from its weights alone.

import { type DeepLabOptions, PUBLISHED } from "../../nn/deeplab.ts";
import { type DeepLabShape, deepLabShape } from "../../nn/deeplab_shape.ts";
import type { HostState } from "../../nn/module.ts";
import { findNetwork, stateByNames } from "../../nn/pretrained.ts";
import { cityscapesClasses, type ClassSet } from "../data/class_set.ts";
import { CLASSES, PUBLISHED_SUBSETS } from "../data/classes.ts";
import { mergeConfig, presetConfig, readConfigFile } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError } from "../base/data_error.ts";
import { type NetworkNote, readNote } from "./network_note.ts";
import { openWeights, weightsFault } from "./weights_file.ts";

/** What a file says of a trained network, and its weights. */
export interface NetworkFile extends Disposable {
  /** The network's shape. */
  readonly network: DeepLabOptions;
  /** The weights by the network's names, read when they are wanted. */
  readonly state: ReadonlyMap<string, HostState>;
  /** What it predicts. */
  readonly classes: ClassSet;
  /** The configuration of its run; the full preset's where it comes from elsewhere. */
  readonly config: RunConfig;
  /** The stage that saved it; {@link WEIGHTS} where it comes from elsewhere. */
  readonly stage: string;
  /** Optimiser updates of that stage. */
  readonly step: number;
}

/** What stands for the stage of a network that was trained elsewhere. */
export const WEIGHTS = "weights";

/**
 * Opens a network that was trained elsewhere, or whose checkpoint was converted. What its weights do not
 * tell, and the file does not either, comes from the full preset, whose network is the published one, and
 * from `configPath`: dilations, groups, `data.longSide`, and the names of the classes where there are not
 * 19, 16 or 13.
 *
 * @param configPath A configuration file.
 * @throws {DataError} If the file cannot be read, is damaged, holds no such network, or leaves open
 * what the network is.
 */
export function openForeignNetwork(path: string, configPath?: string): NetworkFile {
  const file = openWeights(path);
  try {
    const { names } = findNetwork(file.weights, { from: `weights ${path}` });
    const shape = deepLabShape((name) => file.weights.entries.get(names.get(name) ?? "")?.shape);
    const note = readNote(path, file.weights);
    const config = configFor(path, shape, note, configPath);
    const isNamed = note?.classes.names.length === shape.classes && config.data.classes === null;
    const classes = isNamed ? note.classes : classesOf(path, shape, config);
    return {
      network: {
        ...config.network,
        classes: shape.classes,
        featureNorm: shape.featureNorm,
      },
      state: stateByNames(file.weights, names),
      classes,
      config,
      stage: WEIGHTS,
      step: 0,
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw weightsFault(path, error);
  }
}

/** The full preset with the network that the weights show, and on top of it the user's file. */
function configFor(
  path: string,
  shape: DeepLabShape,
  note: NetworkNote | null,
  configPath: string | undefined,
): RunConfig {
  const { blocks, width, head, headChannels = PUBLISHED.headChannels, branches } = shape;
  const { groups, dilations } = PUBLISHED;
  const noted = note ? [{ network: note.network, data: { longSide: note.longSide } }] : [];
  const own = configPath === undefined
    ? []
    : [{ values: readConfigFile(configPath), from: `config file ${configPath}` }];
  const values = { network: { blocks, width, head, headChannels, groups } };
  const fits = headChannels % groups === 0;
  const derived = fits ? values : { network: { ...values.network, groups: headChannels } };
  const config = mergeConfig(
    presetConfig("full"),
    { values: derived, from: `weights ${path}` },
    ...noted.map((values) => ({ values, from: `weights ${path}` })),
    ...own,
  );
  const open = head === "proda" && !fits && config.network.groups === headChannels
    ? "network.groups"
    : config.network.dilations.length !== branches
    ? "network.dilations"
    : null;
  if (open !== null) {
    throw new DataError(
      `Cannot use weights ${path} as ${open} cannot be told from them: the head has ${branches} ` +
        `branches of ${headChannels} channels, where published ones have ${dilations.length} with ` +
        `dilations ${dilations.join(", ")} and ${groups} groups; say it in a configuration file`,
      { options: ["configPath"] },
    );
  }
  return config;
}

function classesOf(path: string, { classes }: DeepLabShape, { data }: RunConfig): ClassSet {
  const published = Object.entries(PUBLISHED_SUBSETS).find(([count]) => Number(count) === classes);
  const names = data.classes?.length === classes ? data.classes : published?.[1];
  if (!names || names.some((name) => !CLASSES.some((known) => known.name === name))) {
    throw new DataError(
      `Cannot use weights ${path} as their ${classes} classes have no names: expected 19, 16 or 13 as ` +
        `published; name them in data.classes of a configuration file, as Cityscapes does`,
      { options: ["configPath"] },
    );
  }
  return cityscapesClasses(names);
}
