// The networks of a run that are still there, in the order in which they came.

import { existsSync } from "node:fs";
import { DataError } from "../base/data_error.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import type { CheckpointState } from "../run/resume.ts";
import { checkpointPathIn, type StageResult } from "../run/run_folder.ts";
import { networksOf, type RunRecord } from "./run_record.ts";

/** A network in a file. */
export interface SavedNetwork {
  /** Of the stage that has trained it. */
  readonly name: string;
  /** The checkpoint. */
  readonly path: string;
  /** Whether the run hands it on. */
  readonly isHandedOn: boolean;
}

/** Finds them: what the run started from, as far as that can be told, and what its stages have left. */
export function savedNetworks(run: RunRecord): SavedNetwork[] {
  const { start } = run.result;
  return networksOf(run).flatMap((result) => {
    const isStart = start !== undefined && result.seconds === start.seconds;
    const path = isStart ? startPath(run, start) : checkpointPath(run, result);
    if (path === null || !existsSync(path)) return [];
    return [{ name: result.name, path, isHandedOn: result.handedOn === true }];
  });
}

/** The checkpoint with the network that a stage was scored with. */
function checkpointPath({ path }: RunRecord, { name, steps, selected }: StageResult): string {
  const isEarlier = selected !== undefined && selected.step < steps;
  return checkpointPathIn(path, isEarlier ? `${name}.best` : name);
}

/** What the run started from; null where the file is gone, or another network lies there by now. */
function startPath({ config: { init } }: RunRecord, start: StageResult): string | null {
  if (init === null || !existsSync(init)) return null;
  try {
    using checkpoint = new Checkpoint(init);
    const { stage, step, seconds } = checkpoint.state as CheckpointState;
    return stage === start.name && step === start.steps && seconds === start.seconds ? init : null;
  } catch (error) {
    if (error instanceof DataError) return null;
    throw error;
  }
}
