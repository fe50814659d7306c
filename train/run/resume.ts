// Where an interrupted run goes on: after the newest checkpoint of it that is whole.

import { isDeepStrictEqual } from "node:util";
import { Checkpoint, DamagedCheckpointError } from "../networks/checkpoint.ts";
import { mergeConfig, presetConfig } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import type { StageName } from "../stages/kinds.ts";
import { DataError } from "../base/data_error.ts";
import { renameFile } from "../base/folders.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Best } from "../evaluation/selection.ts";
import type { SavedClasses } from "../networks/trained_network.ts";

/** A checkpoint to go on from. */
export interface ResumePoint {
  /** The stage that wrote it. */
  readonly stage: StageName;
  /** Optimiser updates of that stage. */
  readonly step: number;
  /** Time that the stage had taken. */
  readonly seconds: number;
  /** The best evaluation of the stage so far. */
  readonly best: Best | null;
  /** The checkpoint's path. */
  readonly path: string;
}

/** What a checkpoint of a run says beside its arrays. */
export interface CheckpointState extends Omit<ResumePoint, "path"> {
  /** The configuration of the run. */
  readonly config: RunConfig;
  /** The names of the classes. */
  readonly classes: readonly string[];
  /** What else a user of the network needs to know of classes that are not those of Cityscapes. */
  readonly ownClasses: SavedClasses | null;
}

/**
 * The newest whole checkpoint of a run. Damaged ones are set aside under another name.
 *
 * @param warn Hears of checkpoints that are passed over as they are damaged.
 * @returns null where the run has none.
 * @throws {DataError} If a checkpoint was made with another configuration than the folder now holds.
 */
export function findResumePoint(
  folder: RunFolder,
  config: RunConfig,
  warn: (text: string) => void,
): ResumePoint | null {
  for (const stage of config.pipeline.toReversed()) {
    for (const path of folder.checkpoints(stage)) {
      const state = readState(path, warn);
      if (!state) continue;
      const made = checkedConfig(state.config, `checkpoint ${path}`, config.out);
      if (!isDeepStrictEqual(made, config)) {
        throw new DataError(
          `Cannot resume ${folder.path} as checkpoint ${path} was made with another configuration: ` +
            `expected that of config.json; undo the change of config.json, or start a new run from it`,
        );
      }
      const { step, seconds, best = null } = state;
      return { stage, step, seconds, best, path };
    }
  }
  return null;
}

/** The configuration of a run folder, which may have been moved. */
export function configOf(folder: RunFolder): RunConfig {
  return checkedConfig(folder.config, `${folder.path}/config.json`, folder.path);
}

function checkedConfig(values: unknown, from: string, out: string): RunConfig {
  return { ...mergeConfig(presetConfig("default"), { values, from }), out };
}

function readState(path: string, warn: (text: string) => void): CheckpointState | null {
  try {
    using checkpoint = new Checkpoint(path);
    return checkpoint.state as CheckpointState;
  } catch (error) {
    // One that is whole, but cannot be read or is of a later version, is not passed over.
    if (!(error instanceof DamagedCheckpointError)) throw error;
    // Out of the way, or it would take the place of the one before, which is whole.
    renameFile(path, `${path}.damaged`);
    warn(
      `WARNING: an earlier checkpoint is used, and ${path} set aside as .damaged. ${error.message}`,
    );
    return null;
  }
}
