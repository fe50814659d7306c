// One stage of a run: what it starts from, its data, its loop.

import { Batches } from "../stages/common/batches.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import type { RunConfig, StageName } from "../config/config.ts";
import type { Dataset } from "../data/dataset.ts";
import { estimateStatistics } from "../evaluation/estimate_statistics.ts";
import { finishStage, type Prepared, type Run } from "./stage_loop.ts";
import { Loader } from "../data/loader.ts";
import { withPseudoLabels, writePseudoLabels } from "../stages/distil/pseudo_labels.ts";
import type { CheckpointState, ResumePoint } from "./resume.ts";
import type { PretrainingResult, StageResult } from "./run_folder.ts";
import { bankFor, labelTarget, SoftLabels } from "../stages/denoise/soft_labels.ts";
import { createNetwork, makeDenoise, makeWarmUp, optimiser } from "./stage_setup.ts";
import type { DenoiseBatch } from "../stages/denoise/denoise.ts";
import { Distil } from "../stages/distil/distil.ts";
import { SelfSupervised } from "../stages/self_supervised/self_supervised.ts";
import { SourceOnly } from "../stages/source_only/source_only.ts";
import { networkBefore, startStudent } from "./student.ts";
import type { ViewOptions } from "../views/target_views.ts";

/** Of each domain: one per four processors, as a photograph takes a tenth of a second. */
const DECODING_THREADS = Math.min(4, Math.ceil(navigator.hardwareConcurrency / 4));

/** Runs one stage, or the rest of one; undefined where it was stopped. */
export async function runStage(
  run: Run,
  name: StageName,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data } = run;
  const { batch, cropHeight, cropWidth, longSide, scales, flip } = config.data;
  const load = (dataset: Dataset, stream: string, views: ViewOptions | null = null) =>
    new Loader({
      dataset,
      order: "shuffled",
      seed: config.seed,
      stream: `${name}/${stream}`,
      workers: DECODING_THREADS,
      views,
    });
  const labelled = name === "oracle" ? data.openLabelledTarget() : data.source;
  const views: ViewOptions = {
    seed: config.seed,
    stage: name,
    view: { crop: { height: cropHeight, width: cropWidth }, longSide, scales, flip },
  };
  const isDistil = name === "stage2" || name === "stage3";
  const rendersViews = config.data.strongView === "randaugment" && (isDistil || name === "stage1");
  using source = load(labelled, "source");
  const targetImages = isDistil ? await pseudoLabelled(run, name, point) : data.target;
  using target = load(targetImages, "target", rendersViews ? views : null);
  for (const loader of [source, target]) loader.seek((point?.step ?? 0) * batch);
  const batches = new Batches({ ...views, gpu: run.gpu, batch }, source, target);
  const waited = () => batches.waited;
  switch (name) {
    case "stage2":
    case "stage3": {
      using stage = prepareDistil(run, name);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextDistil(), waited },
        point,
      );
    }
    case "selfsup": {
      using network = createNetwork(config, run.gpu, run.network.classes);
      const { selfsup } = config.stages;
      using stage = new SelfSupervised(network, { ...selfsup, ...optimiser(run, selfsup) });
      const nextBatch = () => batches.nextContrast(selfsup.places);
      return await finishStage(run, { stage, nextBatch, waited, isPretraining: true }, point);
    }
    case "source":
    case "oracle": {
      using stage = new SourceOnly(run.network, optimiser(run, config.stages[name]), name);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextSourceOnly(), waited },
        point,
      );
    }
    case "warmup": {
      using stage = makeWarmUp(run);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextWarmUp(), waited },
        point,
      );
    }
    case "stage1": {
      const prepared = await prepareDenoise(run, batches, point);
      using _ = prepared.stage;
      return await finishStage(run, prepared, point);
    }
  }
}

/** Gives the network the batch-norm statistics of the target where a stage wants those alone and it has others. */
async function prepareStatistics(run: Run, name: "stage1" | "stage2" | "stage3"): Promise<void> {
  const { config, data, folder, network, signal } = run;
  if (config.stages[name].statistics !== "target") return;
  const before = networkBefore(folder, config, config.pipeline.indexOf(name));
  if (before !== null && hasTargetStatistics(before)) return;
  await estimateStatistics(network, data.target, config.data.longSide, signal);
}

/** Whether the network of a checkpoint was trained with the statistics of the target alone. */
function hasTargetStatistics(path: string): boolean {
  using checkpoint = new Checkpoint(path);
  const { stage, config: { stages } } = checkpoint.state as CheckpointState;
  const settings = stages[stage];
  return "statistics" in settings && settings.statistics === "target";
}

/** Target images with pseudo labels of the network as the stage before has left it. */
async function pseudoLabelled(
  run: Run,
  name: "stage2" | "stage3",
  point: ResumePoint | null,
): Promise<Dataset> {
  const { config, data, folder, network, observer, signal } = run;
  const { threshold, keep } = config.stages[name];
  const { classes } = data;
  const options = { folder: folder.pseudoLabelPath(name), classes };
  if (!point) { // where there is a checkpoint of the stage, they were complete
    await prepareStatistics(run, name);
    observer.message(`${name}: pseudo labels of ${data.target.items.length} target images`);
    const { longSide } = config.data;
    await writePseudoLabels(network, data.target, {
      ...options,
      threshold,
      keep,
      longSide,
      signal,
    });
  }
  return withPseudoLabels(data.target, options);
}

/** The network of the stage before becomes the teacher, and the run goes on with the student. */
function prepareDistil(run: Run, name: "stage2" | "stage3"): Distil {
  const { gpu, config, folder, network: teacher } = run;
  const options = config.stages[name];
  const student = createNetwork(config, gpu, teacher.classes, options.featureNorm);
  try {
    const { studentStart } = options;
    startStudent(student, teacher, studentStart, folder, config.stages.selfsup.weights);
  } catch (error) {
    student.dispose();
    throw error;
  }
  run.network = student;
  return new Distil(student, teacher, { ...options, ...optimiser(run, options) }, name);
}

async function prepareDenoise(
  run: Run,
  batches: Batches,
  point: ResumePoint | null,
): Promise<Prepared<DenoiseBatch>> {
  const { gpu, config, network } = run;
  // Where there is a checkpoint of the stage, the soft labels were complete, and it holds the prototypes.
  const { softLabels, bank } = point
    ? {
      softLabels: new SoftLabels(run.folder.softLabelPath),
      bank: bankFor(network, prototypeVariants(config)),
    }
    : await makeSoftLabels(run);
  const stage = makeDenoise(run, bank);
  return {
    stage,
    nextBatch: () => batches.nextDenoise(softLabels),
    waited: () => batches.waited,
    makeLabels: (samples, images) => {
      using probabilities = softLabels.upload(gpu, samples.map(({ name }) => indexOf(run, name)));
      return stage.denoise(images, probabilities);
    },
  };
}

function indexOf({ data }: Run, name: string): number {
  return data.target.items.findIndex((item) => item.name === name);
}

async function makeSoftLabels(run: Run) {
  const { config, data, folder, network, observer, signal } = run;
  const images = data.target.items.length;
  observer.message(`stage1: soft labels and prototypes of ${images} target images`);
  const { longSide } = config.data;
  const variants = prototypeVariants(config);
  await prepareStatistics(run, "stage1");
  return await labelTarget(network, data.target, folder.softLabelPath, longSide, signal, variants);
}

function prototypeVariants({ stages: { stage1 } }: RunConfig) {
  return { startVariant: stage1.prototypeStart, updateVariant: stage1.prototypeUpdate };
}
