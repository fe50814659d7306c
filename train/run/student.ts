// What students of stages 2 and 3 start from, and what a run takes over from an earlier one.

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DeepLab } from "../../nn/deeplab.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { type RunConfig, type StageName, STAGES, type StudentStart } from "../config/config.ts";
import { DataError } from "../base/data_error.ts";
import { checkpointPathIn, type RunFolder } from "./run_folder.ts";
import { loadWeights, openWeights } from "../networks/weights_file.ts";

/** The stage whose backbone a student starts from, where it is one's. */
const BACKBONE_OF = { "self-supervised": "selfsup", supervised: "source" } as const;

/**
 * Gives a student its first weights. What the teacher or the backbone does not have keeps what it was
 * made with.
 *
 * @param weights A file with the backbone of a student that starts self-supervised; null for stage selfsup's.
 * @throws {DataError} If the checkpoint of the backbone cannot be read.
 */
export function startStudent(
  student: DeepLab,
  teacher: DeepLab,
  start: StudentStart,
  folder: RunFolder,
  weights: string | null = null,
): void {
  if (start === "teacher") {
    student.loadStateDict(teacher.stateDict(), { strict: false });
  } else if (start === "self-supervised" && weights !== null) {
    loadWeights(student, weights, { part: "backbone" });
  } else if (start !== "random") {
    using checkpoint = new Checkpoint(folder.checkpointPath(BACKBONE_OF[start]));
    checkpoint.restore(student.backboneDict(), "network.", { partial: true });
  }
}

/**
 * Checks, before hours of work, that every student will find what it starts from.
 *
 * @throws {DataError} If one will not.
 */
export function checkStudentStarts({ pipeline, stages }: RunConfig, folder: RunFolder): void {
  for (const [index, name] of pipeline.entries()) {
    if (name !== "stage2" && name !== "stage3") continue;
    const { studentStart } = stages[name];
    if (studentStart === "teacher" || studentStart === "random") continue;
    if (studentStart === "self-supervised" && stages.selfsup.weights !== null) {
      openWeights(stages.selfsup.weights)[Symbol.dispose]();
      continue;
    }
    const needed = BACKBONE_OF[studentStart];
    const path = folder.checkpointPath(needed);
    if (pipeline.indexOf(needed) >= 0 && pipeline.indexOf(needed) < index) continue;
    if (existsSync(path)) continue;
    throw new DataError(
      `Cannot run ${name} as its student is to start ${studentStart} and ${path} is missing: ` +
        `expected the stage ${needed} before it; add ${needed} to --stages, or set ` +
        `stages.${name}.studentStart to "teacher"`,
    );
  }
}

/** The stages that come before the pipeline, and those of its own that are done, in their order. */
function stagesBefore({ pipeline }: RunConfig, done: number): StageName[] {
  const [first] = pipeline as [StageName];
  return [...STAGES.slice(0, STAGES.indexOf(first)), ...pipeline.slice(0, done)];
}

/**
 * The checkpoint with the network that the next stage starts from; null where it starts with one of its
 * own.
 *
 * @param done How many stages of the pipeline have run to their end.
 */
export function networkBefore(folder: RunFolder, config: RunConfig, done: number): string | null {
  const before = stagesBefore(config, done).filter((name) => name !== "selfsup");
  const last = before.map((name) => folder.checkpointPath(name)).findLast((path) =>
    existsSync(path)
  );
  return last === undefined ? null : handedOn(last, config);
}

/** Of a stage's checkpoints that with its best network, where that is selected and is not the last. */
function handedOn(last: string, { select }: RunConfig): string {
  const best = last.replace(/safetensors$/, "best.safetensors");
  return select !== "last" && existsSync(best) ? best : last;
}

/**
 * The last checkpoints of the stages before the pipeline in the earlier run that a run builds on, for
 * {@link RunFolder.adopt}; none where it builds on none.
 *
 * @throws {DataError} If there is no network among them, or one is damaged.
 */
export function checkpointsBefore(config: RunConfig): Map<StageName, string> {
  const { base } = config;
  if (base === null) return new Map();
  const found = new Map(
    stagesBefore(config, 0)
      .map((name) => [name, checkpointPathIn(base, name)] as const)
      .filter(([, path]) => existsSync(path))
      .map(([name, path]) => [name, handedOn(path, config)] as const),
  );
  for (const path of found.values()) new Checkpoint(path)[Symbol.dispose]();
  if ([...found.keys()].every((name) => name === "selfsup")) {
    throw new DataError(
      `Cannot start with stage ${config.pipeline[0]} as ${
        join(base, "checkpoints")
      } has no checkpoint of a stage before it: expected one of ${
        stagesBefore(config, 0).join(", ")
      }; give the folder of a run that went further`,
    );
  }
  return found;
}
