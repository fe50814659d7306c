// What stages start from: networks and backbones of the stages before, in this run or in an earlier one.

import { join } from "node:path";
import type { DeepLab } from "../../nn/deeplab.ts";
import { DataError } from "../base/data_error.ts";
import { exists } from "../base/folders.ts";
import { backboneStage, weightsInstead } from "../config/pipeline.ts";
import type { RunConfig } from "../config/settings.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { FEATURE_NORM } from "../networks/trained_network.ts";
import { isCheckpoint, loadWeights, openWeights } from "../networks/weights_file.ts";
import { kindOf, type StageName, STAGES } from "../stages/kinds.ts";
import type { ResumePoint } from "./resume.ts";
import { bestOf } from "./handing_on.ts";
import { checkpointPathIn, readRunResult, type RunFolder, type RunResult } from "./run_folder.ts";
import type { RunState } from "./run_state.ts";

/**
 * Gives a network the backbone that a stage has trained, or the file that takes the stage's place; of the
 * file that the run starts from, where the stage is null.
 *
 * @throws {DataError} If it cannot be read or does not fit.
 */
export function loadBackbone(
  { config, folder }: Pick<RunState, "config" | "folder">,
  network: DeepLab,
  stage: StageName | null,
): void {
  const weights = stage === null ? config.init : weightsInstead(stage, config);
  const isOwn = weights === null || (stage === null && isCheckpoint(weights));
  if (!isOwn) {
    loadWeights(network, weights, { part: "backbone" });
    return;
  }
  using checkpoint = new Checkpoint(weights ?? folder.checkpointPath(stage as StageName));
  checkpoint.restore(network.backboneDict(), "network.", { partial: true, finite: true });
}

/**
 * Checks, before hours of work, that every stage will find the backbone it starts from.
 *
 * @param begun How many stages of the pipeline have theirs already.
 * @throws {DataError} If one will not.
 */
export function checkBackbones(config: RunConfig, folder: RunFolder, begun: number): void {
  const { pipeline, stages } = config;
  for (const [index, name] of pipeline.entries()) {
    if (index < begun) continue;
    const start = kindOf(name).backboneStart?.(stages[name]) ?? null;
    if (start === null) continue;
    const [setting, value] = start.otherwise;
    const needed = backboneStage(name, config);
    if (needed === null) {
      if (config.init !== null) continue;
      throw new DataError(
        `Cannot run ${name} as it starts from the backbone of the file that the run starts from, and ` +
          `there is none: expected one; give it as init, or set stages.${name}.${setting} to "${value}"`,
        { options: ["init"] },
      );
    }
    const weights = weightsInstead(needed, config);
    if (weights !== null) {
      openWeights(weights)[Symbol.dispose]();
      continue;
    }
    const path = folder.checkpointPath(needed);
    if (pipeline.slice(0, index).includes(needed) || exists(path)) continue;
    throw new DataError(
      `Cannot run ${name} as it starts from the backbone of ${needed} and ${path} is missing: expected ` +
        `the stage ${needed} before it; add ${needed} to the pipeline, or set ` +
        `stages.${name}.${setting} to "${value}"`,
      { options: ["pipeline"] },
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
  const before = upToBest(
    stagesBefore(config, done).filter(leavesNetwork),
    config,
    folder.readResult(),
  );
  const last = before.map((name) => folder.checkpointPath(name)).findLast((path) => exists(path));
  return last === undefined ? null : handedOn(last, config);
}

/**
 * The checkpoint with the best network before the next stage, whichever that starts from: what the run would
 * hand on; null where no training has left one.
 *
 * @param done How many stages of the pipeline have run to their end.
 */
export function bestBefore(folder: RunFolder, config: RunConfig, done: number): string | null {
  const { init } = config;
  const before = networkBefore(folder, { ...config, handOn: "best" }, done);
  return before ?? (init !== null && isCheckpoint(init) ? init : null);
}

/**
 * The network in an opened checkpoint.
 *
 * @param create Makes one of the run, with a batch norm before the head or without.
 * @param prefix Under which the checkpoint holds it.
 * @throws {DataError} If it cannot be read or does not fit.
 */
export function networkIn(
  checkpoint: Checkpoint,
  create: (featureNorm: boolean) => DeepLab,
  prefix = "network",
): DeepLab {
  const network = create(checkpoint.has(FEATURE_NORM.replace("network", prefix)));
  try {
    checkpoint.restore(network.stateDict(), `${prefix}.`, { finite: true });
  } catch (error) {
    network.dispose();
    throw error;
  }
  return network;
}

/** Of stages with a network those up to the best one, where the next is to start from that. */
function upToBest(
  stages: readonly StageName[],
  { handOn }: RunConfig,
  result: RunResult | null,
): StageName[] {
  if (handOn === "last") return [...stages];
  const scored = result?.stages.filter(({ name }) => stages.includes(name as StageName)) ?? [];
  const best = bestOf(scored)?.name;
  return stages.slice(0, best === undefined ? undefined : stages.indexOf(best as StageName) + 1);
}

/**
 * Where the checkpoint that a stage goes on from holds the network that the stage was given; null where it
 * does not, as the network passes the stage by.
 */
export function networkGivenTo(
  { stage, path }: ResumePoint,
): { path: string; prefix: string } | null {
  const { role, givenNetwork = "network" } = kindOf(stage);
  return role === "pretraining" ? null : { path, prefix: givenNetwork };
}

/** Whether the next stage starts from this one's network. */
function leavesNetwork(name: StageName): boolean {
  return kindOf(name).role !== "pretraining";
}

/** Of a stage's checkpoints that with its best network, where that is selected and is not the last. @param last Its last one. */
export function handedOn(last: string, { select }: RunConfig): string {
  const best = last.replace(/safetensors$/, "best.safetensors");
  return select !== "last" && exists(best) ? best : last;
}

/**
 * The last checkpoints of the stages before the pipeline in the earlier run that a run builds on, for
 * {@link RunFolder.adopt}; none where it builds on none. Where the best network is handed on, those after
 * it are left out.
 *
 * @throws {DataError} If there is no network among them, or one is damaged.
 */
export function checkpointsBefore(config: RunConfig): Map<StageName, string> {
  const { base } = config;
  if (base === null) return new Map();
  const before = stagesBefore(config, 0);
  const worth = upToBest(before.filter(leavesNetwork), config, readRunResult(base));
  const found = new Map(
    before.filter((name) => !leavesNetwork(name) || worth.includes(name))
      .map((name) => [name, checkpointPathIn(base, name)] as const)
      .filter(([, path]) => exists(path))
      .map(([name, path]) => [name, handedOn(path, config)] as const),
  );
  for (const path of found.values()) new Checkpoint(path)[Symbol.dispose]();
  if (![...found.keys()].some(leavesNetwork)) {
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
