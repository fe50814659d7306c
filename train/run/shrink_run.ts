// The networks of a run in a folder to hand on: small files, what they reach, and how they came about.

import { join } from "node:path";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { DataError } from "../base/data_error.ts";
import { makeFolder, readFile } from "../base/folders.ts";
import { presetConfig } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { Loader } from "../data/loader.ts";
import { evaluationOf, measure } from "../evaluation/evaluate.ts";
import { byName } from "../evaluation/metrics.ts";
import { writeHalfCheckpoint } from "../networks/half_checkpoint.ts";
import { MANIFEST, type NetworkManifest, type PackedNetwork } from "../networks/manifest.ts";
import { loadTrainedNetwork } from "../networks/trained_network.ts";
import { keepLines } from "./metrics_file.ts";
import { readRunConfig } from "./run_config.ts";
import { openRunData } from "./run_data.ts";
import { checkpointPathIn, readRunResult } from "./run_folder.ts";
import { handedOn } from "./starts.ts";

/** What to pack. */
export interface ShrinkOptions {
  /** The run folder; the run is finished. */
  readonly run: string;
  /** The folder for the files; those of the same names are replaced. */
  readonly output: string;
  /** The stages whose networks are wanted, in the order of the run; all unless given. */
  readonly stages?: readonly string[] | undefined;
  /** The command that makes the same again, out of the configuration that it writes, for its page. */
  readonly command: string;
  /** Hears what is done. */
  readonly message: (text: string) => void;
  /** Stops before the next image. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the networks of a run in half the bytes, measures each as it was written, and puts beside them the
 * run's configuration, its log at the steps that it printed, and a manifest with scores and digests.
 *
 * @returns The manifest.
 * @throws {DataError} If the run is not finished or has no labels to measure on, or a file cannot be read or
 * written.
 */
export async function shrinkRun(gpu: Gpu, options: ShrinkOptions): Promise<NetworkManifest> {
  const { run, output, command, message, signal } = options;
  const config = readRunConfig(run);
  const result = readRunResult(run);
  const done = result?.stages ?? [];
  const names = options.stages ?? done.map(({ name }) => name);
  const missing = names.find((name) => !done.some((stage) => stage.name === name));
  if (!result || missing !== undefined || names.length === 0) {
    throw new DataError(
      `Cannot pack ${run} as its result.json says nothing of ${missing ?? "any stage"}: expected ` +
        `stages that have run to their end; finish the run, or name others`,
      { options: ["stages"] },
    );
  }
  const data = await openRunData(config.data, message, signal);
  if (data.validation.trainIds === null) {
    throw new DataError(
      `Cannot pack ${run} as ${data.validation.root} has no labels to measure on: expected labels, as ` +
        `scores stand beside the networks; add them`,
    );
  }
  makeFolder(output);
  const networks: PackedNetwork[] = [];
  for (const stage of done.filter(({ name }) => names.includes(name))) {
    const file = `${stage.name}.safetensors`;
    const written = writeHalfCheckpoint(
      handedOn(checkpointPathIn(run, stage.name), config),
      join(output, file),
      portable,
    );
    using trained = loadTrainedNetwork(gpu, join(output, file));
    using loader = new Loader({ dataset: data.validation, order: "sequential", cacheBytes: 0 });
    const measured = await measure(trained.network, loader, config.data.longSide, signal);
    const { mIoU, classIoU, pixelAccuracy } = evaluationOf(measured);
    const classes = byName(data.classes.names, classIoU);
    networks.push({ file, ...written, mIoU, pixelAccuracy, classIoU: classes, before: stage.mIoU });
    message(`${join(output, file)}: mIoU ${mIoU.toFixed(2)} %, ${stage.mIoU.toFixed(2)} % before`);
  }
  const manifest: NetworkManifest = {
    command,
    adapter: result.adapter,
    seed: result.seed,
    classes: data.classes.names,
    split: data.validation.split,
    images: data.validation.items.length,
    networks,
  };
  const write = (name: string, text: string) =>
    writeFileAtomic(join(output, name), [new TextEncoder().encode(text)]);
  write("config.json", JSON.stringify(portable(config), null, 2) + "\n");
  writeFileAtomic(join(output, "metrics.jsonl"), [logOf(run, config, names)]);
  write("README.md", pageOf(manifest));
  write(MANIFEST, JSON.stringify(manifest, null, 2) + "\n");
  return manifest;
}

/** The configuration without the places of one machine, but for those of a user's own data. */
function portable(config: RunConfig): RunConfig {
  const { out, data } = presetConfig("default");
  const streets = { ...config.data.streets, directory: data.streets.directory };
  return { ...config, out, base: null, init: null, data: { ...config.data, streets } };
}

/** The lines of the log that have scores, or that the run printed. */
function logOf(
  run: string,
  { logEvery }: RunConfig,
  stages: readonly string[],
): Uint8Array<ArrayBuffer> {
  const metrics = readFile(join(run, "metrics.jsonl"));
  return keepLines(
    metrics,
    ({ stage, step, mIoU }) =>
      stages.includes(stage) && (mIoU !== undefined || (step + 1) % logEvery === 0),
  ).bytes;
}

/** What people read. */
function pageOf(
  { command, adapter, seed, split, images, classes, networks }: NetworkManifest,
): string {
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  const scores = (network: PackedNetwork) =>
    classes.map((name) => network.classIoU[name]?.toFixed(1) ?? "–");
  return [
    "# Trained networks",
    "",
    "Made by",
    "",
    `    ${command}`,
    "",
    `with seed ${seed} on ${adapter}.`,
    `Weights are 16-bit floats. Measured as they lie here, on the ${images} images of the target's split`,
    `\`${split}\`, in %; the last column is the mIoU that the network had in 32 bits.`,
    "",
    row(["network", "steps", "mIoU", ...classes, "pixels", "in 32 bits"]),
    row(["---", ...Array(classes.length + 4).fill("--:")]),
    ...networks.map((network) =>
      row([
        network.file,
        network.step,
        network.mIoU.toFixed(1),
        ...scores(network),
        network.pixelAccuracy.toFixed(1),
        network.before.toFixed(1),
      ])
    ),
    "",
    "`config.json` is the configuration of the run, `metrics.jsonl` its log, thinned to the steps that it",
    `printed, \`${MANIFEST}\` has all scores and these hashes (SHA-256):`,
    "",
    ...networks.map(({ file, bytes, sha256 }) => `- \`${file}\`, ${bytes} bytes: \`${sha256}\``),
    "",
  ].join("\n");
}
