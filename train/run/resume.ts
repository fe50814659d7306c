// Where an interrupted run goes on: after the newest checkpoint of it that is whole.

import { isDeepStrictEqual } from "node:util";
import { Checkpoint, DamagedCheckpointError } from "../networks/checkpoint.ts";
import type { KnownData } from "../data/fingerprint.ts";
import type { RunConfig } from "../config/settings.ts";
import type { StageName } from "../stages/kinds.ts";
import { DataError } from "../base/data_error.ts";
import { renameFile } from "../base/folders.ts";
import { unpack } from "../base/packed.ts";
import { runConfigOf } from "./run_config.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Best } from "../evaluation/selection.ts";
import type { SavedClasses } from "../networks/saved_classes.ts";

/** The files that a stage learns from, as a checkpoint knows them. */
export interface KnownFiles {
  /** Those of the data sets; null in checkpoints of earlier versions. */
  readonly data: KnownData | null;
  /** Digests by name of those that the stage has made; null where it makes none. */
  readonly made: Readonly<Record<string, string>> | null;
}

const NONE: KnownFiles = { data: null, made: null };

/** A checkpoint to go on from. */
export interface ResumePoint extends KnownFiles {
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
export interface CheckpointState extends Omit<ResumePoint, "path" | keyof KnownFiles> {
  /** The configuration of the run. */
  readonly config: RunConfig;
  /** The names of the classes. */
  readonly classes: readonly string[];
  /** {@link KnownFiles}, packed; earlier versions know none. */
  readonly files?: string;
  /** Of a network that a stage has left with the target's batch-norm statistics: see `finalStatistics`. */
  readonly statistics?: "target";
  /** What else a user of the network needs to know of classes that are not those of Cityscapes. */
  readonly ownClasses: SavedClasses | null;
}

/**
 * The newest whole checkpoint of a run. Damaged ones are set aside under another name.
 *
 * @param warn Hears of checkpoints that are passed over as they are damaged.
 * @returns null where the run has none.
 * @throws {DataError} If a checkpoint was made with another configuration than the folder now holds, or by
 * another stage than its name says.
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
      const then = checkedConfig(state.config, `checkpoint ${path}`, config.out);
      if (!isDeepStrictEqual(then, config)) {
        throw new DataError(
          `Cannot resume ${folder.path} as checkpoint ${path} was made with another configuration: ` +
            `expected that of config.json; undo the change of config.json, or start a new run from it`,
        );
      }
      if (state.stage !== stage) {
        throw new DataError(
          `Cannot resume ${folder.path} as ${path} is a checkpoint of ${state.stage}: expected one of ` +
            `${stage}; put it back, or move it away to go on from the one before`,
        );
      }
      const { step, seconds, best = null } = state;
      const { data, made } = (state.files ? unpack(state.files) : NONE) as KnownFiles;
      return { stage, step, seconds, best, data, made, path };
    }
  }
  return null;
}

/** The configuration of a run folder, which may have been moved. */
export function configOf(folder: RunFolder): RunConfig {
  return checkedConfig(folder.config, `${folder.path}/config.json`, folder.path);
}

function checkedConfig(values: unknown, from: string, out: string): RunConfig {
  return { ...runConfigOf(values, from), out };
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
