/**
 * The folder of one run: `config.json`, `metrics.jsonl`, `result.json`, `checkpoints/`, `samples/`
 * `confusion/` and, from stage 1 on, `soft_labels/`, from stage 2 on, `pseudo_labels/`.
 *
 * @module
 */
import { join } from "node:path";
import { removeIfPossible, writeFileAtomic, writeWhole } from "../base/atomic_file.ts";
import { DataError, describeFailure, onDisk, shortList } from "../base/data_error.ts";
import { copyFile, exists, makeFolder, removeAll, renameFile } from "../base/folders.ts";
import type { Best } from "../evaluation/selection.ts";

/** What `result.json` says about a stage whatever it trains. */
export interface PretrainingResult {
  /** The stage's name. */
  name: string;
  /** Optimiser updates made. */
  steps: number;
  /** Wall time. */
  seconds: number;
  /** Share of the time, from 0 to 1, that steps have waited for pixels since the start or the last resume. */
  waitShare?: number;
  /** Most bytes that arrays on the GPU have held at once meanwhile, evaluation included. */
  peakBytes?: number;
}

/** What `result.json` says about a stage that trains a segmentation network. Scores are percentages. */
export interface StageResult extends PretrainingResult {
  /** Mean IoU on the target's val split; NaN, null in the file, where it has no labels. */
  mIoU: number;
  /** IoU by class name; null for a class that does not occur. */
  classIoU: Record<string, number | null>;
  /** Share of pixels predicted right; like the mean IoU without labels. */
  pixelAccuracy: number;
  /** Where the best network was selected: its score, and its updates, fewer than `steps` for an earlier one. */
  selected?: Best;
}

/** The content of `result.json`. */
export interface RunResult {
  /** The adapter's description. */
  adapter: string;
  /** The seed of everything drawn at random. */
  seed: number;
  /** The stages in the order in which they ran, but for self-supervised pre-training. */
  stages: StageResult[];
  /** Self-supervised pre-training, which has no scores, where it ran. */
  pretraining?: PretrainingResult;
}

/** A run folder that this process alone may write to, until it is closed. */
export class RunFolder implements Disposable {
  /** The folder's path. */
  readonly path: string;
  /** The content of `config.json`. */
  readonly config: unknown;
  readonly #metrics: Deno.FsFile;
  /** Whether there was no folder before. */
  readonly #isNew: boolean;

  private constructor(path: string, config: unknown, metrics: Deno.FsFile, isNew = false) {
    this.path = path;
    this.config = config;
    this.#metrics = metrics;
    this.#isNew = isNew;
  }

  /**
   * Creates the folder of a new run, and its parents.
   *
   * @param config Written to `config.json`.
   * @throws {DataError} If the folder exists and is not empty, or cannot be written.
   */
  static create(path: string, config: unknown): RunFolder {
    const failure = (reason: string) =>
      new DataError(
        `Cannot create run folder ${path} as ${reason}: expected a new or empty folder; ` +
          `choose another one`,
      );
    const metricsPath = join(path, "metrics.jsonl");
    const isNew = !exists(path);
    let metrics;
    try {
      Deno.mkdirSync(path, { recursive: true });
      const found = [...Deno.readDirSync(path)].map(({ name }) => name).sort();
      if (found.length > 0) throw failure(`it is occupied by ${shortList(found)}`);
      // Of two processes that come this far together, only one creates this file.
      metrics = Deno.openSync(metricsPath, { append: true, read: true, createNew: true });
    } catch (error) {
      if (isNew) removeIfPossible(path);
      if (error instanceof DataError) throw error;
      if (error instanceof Deno.errors.AlreadyExists) {
        throw failure("it is occupied by another run or a file");
      }
      throw failure(describeFailure(error));
    }
    try {
      metrics.tryLockSync(true);
      Deno.mkdirSync(join(path, "checkpoints"));
      Deno.mkdirSync(join(path, "samples"));
      writeJson(join(path, "config.json"), config);
    } catch (error) {
      metrics.close();
      removeUnstarted(path);
      if (isNew) removeIfPossible(path);
      throw error instanceof DataError ? error : failure(describeFailure(error));
    }
    return new RunFolder(path, config, metrics, isNew);
  }

  /**
   * Opens the folder of an earlier run to go on with it.
   *
   * @throws {DataError} If it is no run folder, or another process is writing to it.
   */
  static open(path: string): RunFolder {
    let [config, metrics]: [unknown, Deno.FsFile | null] = [null, null];
    try {
      config = JSON.parse(Deno.readTextFileSync(join(path, "config.json")));
      metrics = Deno.openSync(join(path, "metrics.jsonl"), { append: true, read: true });
    } catch (error) {
      throw new DataError(
        `Cannot open run folder ${path} as its config.json and metrics.jsonl cannot be read: ` +
          `${describeFailure(error)}; give the folder of an earlier run`,
        { cause: error },
      );
    }
    const folder = new RunFolder(path, config, metrics);
    try {
      if (folder.#onMetrics("lock", () => folder.#metrics.tryLockSync(true))) return folder;
    } catch (error) {
      metrics.close();
      throw error;
    }
    metrics.close();
    throw new DataError(
      `Cannot open run folder ${path} as another process is writing to it; wait for its end`,
    );
  }

  /** Appends one line to `metrics.jsonl`. Numbers that are not finite become null. */
  appendMetrics(record: Record<string, unknown>): void {
    const line = new TextEncoder().encode(JSON.stringify(record) + "\n");
    this.#onMetrics("write", () => writeWhole(this.#metrics, line));
  }

  #onMetrics<T>(action: string, use: () => T): T {
    return onDisk(`${action} ${join(this.path, "metrics.jsonl")}`, "make room", use);
  }

  /**
   * Cuts `metrics.jsonl` back to the point that a checkpoint was made at: keeps lines from the start
   * for as long as `keep` agrees, and drops the rest, a torn last line included.
   */
  rewindMetrics(keep: (record: Record<string, unknown>) => boolean): void {
    const path = join(this.path, "metrics.jsonl");
    const text = this.#onMetrics("read", () => Deno.readTextFileSync(path));
    let end = 0;
    for (let next = text.indexOf("\n"); next >= 0; next = text.indexOf("\n", end)) {
      const record = parseRecord(text.slice(end, next));
      if (!record || !keep(record)) break;
      end = next + 1;
    }
    const length = new TextEncoder().encode(text.slice(0, end)).length;
    this.#onMetrics("cut", () => this.#metrics.truncateSync(length));
  }

  /** The content of `result.json`; null where it was not written yet. */
  readResult(): RunResult | null {
    return readRunResult(this.path);
  }

  /** Writes or replaces `result.json`. */
  writeResult(result: RunResult): void {
    writeJson(join(this.path, "result.json"), result);
  }

  /** The path of a checkpoint: `checkpoints/<name>.safetensors`. */
  checkpointPath(name: string): string {
    return checkpointPathIn(this.path, name);
  }

  /** The path of the best network of a stage: `checkpoints/<stage>.best.safetensors`. */
  bestPath(stage: string): string {
    return this.checkpointPath(`${stage}.best`);
  }

  /**
   * Writes `confusion/<stage>.json`: class names, and counts of pixels of the target's val split at their
   * own resolution; row is the label, column the prediction.
   */
  writeConfusion(stage: string, classes: readonly string[], counts: readonly number[][]): void {
    const folder = join(this.path, "confusion");
    makeFolder(folder);
    writeJson(join(folder, `${stage}.json`), { stage, classes, counts });
  }

  /** Makes room for a checkpoint: one that is there is kept beside it until the next. */
  keepPreviousCheckpoint(name: string): void {
    const path = this.checkpointPath(name);
    if (exists(path)) renameFile(path, this.checkpointPath(`${name}.previous`));
  }

  /** Copies checkpoints of another run into this one, under the names of their stages. */
  adopt(checkpoints: ReadonlyMap<string, string>): void {
    for (const [name, from] of checkpoints) copyFile(from, this.checkpointPath(name));
  }

  /** The paths of the checkpoints of a stage that are there, the newest first. */
  checkpoints(name: string): string[] {
    return [name, `${name}.previous`].map((name) => this.checkpointPath(name)).filter((path) =>
      exists(path)
    );
  }

  /** Puts the metrics on the disk, so that they are there if a checkpoint is. */
  syncMetrics(): void {
    this.#onMetrics("write", () => this.#metrics.syncDataSync());
  }

  /** The path of a sample image: `samples/<name>.png`. */
  samplePath(name: string): string {
    return join(this.path, "samples", `${name}.png`);
  }

  /**
   * Removes all that the run has made, the folder itself where it was not there before, if no step was
   * recorded yet: the same command, once it is corrected, then finds its folder free.
   */
  discardUnlessBegun(): void {
    if (this.#metrics.statSync().size > 0) return;
    for (const { name } of Deno.readDirSync(this.path)) {
      if (isMadeByRun(name)) removeAll(join(this.path, name));
    }
    if (this.#isNew) removeIfPossible(this.path);
  }

  /** Puts the metrics on the disk and lets other processes in. */
  close(): void {
    try {
      this.syncMetrics();
    } finally {
      this.#metrics.close();
    }
  }

  /** The same as {@link RunFolder.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The path of a checkpoint in a run folder: of a stage's last network, or of its best, `<stage>.best`. */
export function checkpointPathIn(folder: string, name: string): string {
  return join(folder, "checkpoints", `${name}.safetensors`);
}

/** The content of a run folder's `result.json`; null where it was not written yet. */
export function readRunResult(folder: string): RunResult | null {
  const path = join(folder, "result.json");
  if (!exists(path)) return null;
  try {
    const result = JSON.parse(Deno.readTextFileSync(path)) as RunResult;
    for (const stage of result.stages) {
      stage.mIoU ??= NaN;
      stage.pixelAccuracy ??= NaN;
    }
    return result;
  } catch (error) {
    throw new DataError(
      `Cannot use ${path} as ${describeFailure(error)}; restore it, or start a new run`,
      { cause: error },
    );
  }
}

/** What a result says of a stage; undefined where it has not run to its end. */
export function resultOfStage(
  result: RunResult | null,
  name: string,
): StageResult | PretrainingResult | undefined {
  const results = [...result?.stages ?? [], ...(result?.pretraining ? [result.pretraining] : [])];
  return results.find((stage) => stage.name === name);
}

/** Whether a run makes a file or folder of this name in its folder. */
function isMadeByRun(name: string): boolean {
  return /^(metrics\.jsonl|(config|result)\.json(\.partial)?|events\.out\.tfevents\..+|checkpoints|samples|confusion|soft_labels|pseudo_labels)$/
    .test(name);
}

/** Removes what a run leaves that did not come as far as its `config.json`; other files stay. */
export function removeUnstarted(path: string): void {
  for (const name of ["metrics.jsonl", "checkpoints", "samples", "config.json.partial"]) {
    removeIfPossible(join(path, name));
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, [new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n")]);
}

function parseRecord(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
