// One stage of a run: what it starts from, its data, its loop.

import { join } from "node:path";
import type { Dataset } from "../data/dataset.ts";
import { Loader, type LoaderOptions } from "../data/loader.ts";
import { estimateStatistics } from "../evaluation/estimate_statistics.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { Batches } from "../stages/common/batches.ts";
import type { AnySettings, RunContext } from "../stages/common/kind.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { ViewOptions } from "../views/target_views.ts";
import type { CheckpointState, ResumePoint } from "./resume.ts";
import type { PretrainingResult, StageResult } from "./run_folder.ts";
import type { RunState } from "./run_state.ts";
import { hasTargetStatistics, stageContext } from "./stage_context.ts";
import { loopStage } from "./stage_loop.ts";
import { loadBackbone, networkBefore } from "./starts.ts";

/** Of each domain: one for four processors, as a photograph takes a tenth of a second. */
const DECODING_THREADS = Math.min(4, Math.ceil(navigator.hardwareConcurrency / 4));

/** Runs one stage, or the rest of one; undefined where it was stopped. */
export async function runStage(
  run: RunState,
  name: StageName,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data, gpu, ranks } = run;
  const {
    cropHeight,
    cropWidth,
    longSide,
    scales,
    flip,
    strongView,
    middle,
    sourceColours,
  } = config.data;
  const batch = config.data.batch / ranks.size;
  const share = ranks.size === 1 ? null : { rank: ranks.rank, size: ranks.size, batch };
  const kind = kindOf(name);
  const views: ViewOptions = {
    seed: config.seed,
    stage: name,
    view: { crop: { height: cropHeight, width: cropWidth }, longSide, scales, flip },
  };
  const load = (
    dataset: Dataset,
    stream: string,
    views: ViewOptions | null = null,
    order: LoaderOptions["order"] = "shuffled",
  ) =>
    new Loader({
      dataset,
      order,
      seed: config.seed,
      stream: `${name}/${stream}`,
      workers: DECODING_THREADS,
      share,
      views,
    });
  const [isReference, isPretraining] = [kind.role === "reference", kind.role === "pretraining"];
  const labelled = isReference ? data.openLabelledTarget() : data.source;
  // Pre-training learns no labels, and takes images as they come.
  const order = isPretraining ? "shuffled" : await run.sourceOrder(labelled);
  using source = load(labelled, "source", null, order);
  /** Goes through the target images in views and in an order of its own. */
  const weakViews = async function* (passes: number) {
    using loader = load(data.target, "passes");
    const options = { ...views, stage: `${name}/passes`, gpu, batch, middle };
    const batches = new Batches(options, loader, loader);
    const { length } = data.target.items;
    const count = Math.max(1, Math.floor(passes * length / config.data.batch));
    for (let index = 0; index < count; index++) yield await batches.nextTarget();
  };
  const context = contextOf(run, name, point);
  const prepared = await kind.prepare({ ...context, weakViews });
  using stage = prepared.stage;
  if (stage.name !== name) {
    throw new TypeError(
      `Cannot run stage ${name} as it calls itself ${stage.name}: give it the name of its context`,
    );
  }
  if (!isPretraining) run.network = stage.network;
  try {
    const rendersViews = kind.hasStrongViews && strongView === "randaugment";
    using target = load(prepared.target ?? data.target, "target", rendersViews ? views : null);
    for (const loader of [source, target]) loader.seek((point?.step ?? 0) * batch);
    const { classes } = stage.network;
    const batches = new Batches(
      { ...views, gpu, batch, classes, middle, sourceColours },
      source,
      target,
    );
    return await loopStage(run, { ...prepared, batches, isPretraining }, point);
  } finally {
    if (isPretraining) stage.network.dispose();
  }
}

/** What a stage is made with. */
function contextOf(
  run: RunState,
  name: StageName,
  point: ResumePoint | null,
): Omit<RunContext<AnySettings>, "weakViews"> {
  const { config, data, folder, observer, ranks, signal } = run;
  return {
    ...stageContext(run, name),
    ranks,
    target: data.target,
    classes: data.classes,
    longSide: config.data.longSide,
    isResumed: point !== null,
    made: point?.made ?? null,
    signal,
    message: (text) => observer.message(`${name}: ${text}`),
    pathOf: (...names) => join(folder.path, ...names),
    adaptStatistics: () => adaptStatistics(run, name),
    returnToStart: () => {
      using start = run.networkBefore(name);
      run.network.loadStateDict(start.stateDict());
    },
    loadBackbone: (network, stage) => {
      // A checkpoint holds it, as it holds all that the stage has made of it.
      if (point === null) loadBackbone(run, network, stage as StageName | null);
    },
  };
}

/** Gives the network the batch-norm statistics of the target where a stage wants those alone and it has others. */
async function adaptStatistics(run: RunState, name: StageName): Promise<void> {
  const { config, data, folder, network, signal } = run;
  if (!hasTargetStatistics(config.stages[name])) return;
  const before = networkBefore(folder, config, config.pipeline.indexOf(name));
  if (before !== null) {
    using checkpoint = new Checkpoint(before);
    const { stage, config: { stages }, statistics } = checkpoint.state as CheckpointState;
    if (statistics === "target" || hasTargetStatistics(stages[stage])) return;
  }
  using images = new Loader({ dataset: data.target, order: "sequential" });
  await estimateStatistics(network, images, config.data.longSide, signal);
}
