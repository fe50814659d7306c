/**
 * The folder of one run: `config.json`, `metrics.jsonl`, `result.json`, `checkpoints/`, `samples/`
 * `confusion/`, where kernels were tuned for it `choices.json`, and, from stage 1 on, `soft_labels/`, from stage 2 on, `pseudo_labels/`; at its end, `DONE`.
 *
 * @module
 */
import { join } from "node:path";
import { removeIfPossible, writeFileAtomic, writeWhole } from "../base/atomic_file.ts";
import { DataError, shortList } from "../base/data_error.ts";
import { describeFailure, onDisk } from "../base/refusal.ts";
import { copyFile, exists, makeFolder, readFile, removeAll, renameFile } from "../base/folders.ts";
import { keepLines, type MetricLine } from "./metrics_file.ts";
import { readRunResult, type RunResult } from "./result_file.ts";

export {
  type PretrainingResult,
  readRunResult,
  resultOfStage,
  type RunResult,
  scoredNetworks,
  type StageResult,
} from "./result_file.ts";

/**
 * A run folder that this process alone may write to, until it is closed. Where several processes train, the
 * others read what that one has written: for them, what writes does nothing.
 */
export class RunFolder implements Disposable {
  /** The folder's path. */
  readonly path: string;
  /** The content of `config.json`. */
  readonly config: unknown;
  /** Null for those who only read. */
  readonly #metrics: Deno.FsFile | null;
  /** Whether there was no folder before. */
  readonly #isNew: boolean;

  private constructor(
    path: string,
    config: unknown,
    metrics: Deno.FsFile | null,
    isNew = false,
  ) {
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
      if (folder.#onMetrics("lock", (file) => file.tryLockSync(true))) return folder;
    } catch (error) {
      metrics.close();
      throw error;
    }
    metrics.close();
    throw new DataError(
      `Cannot open run folder ${path} as another process is writing to it; wait for its end`,
    );
  }

  /**
   * The folder of a run that another process creates or has opened, to read from.
   *
   * @throws {DataError} If it is no run folder.
   */
  static follow(path: string): RunFolder {
    try {
      return new RunFolder(
        path,
        JSON.parse(Deno.readTextFileSync(join(path, "config.json"))),
        null,
      );
    } catch (error) {
      throw new DataError(
        `Cannot read run folder ${path} as ${
          describeFailure(error)
        }: expected what rank 0 has written; ` +
          `give a folder that all ranks see under the same path`,
        { cause: error },
      );
    }
  }

  /** Whether another process writes to the folder. */
  get isFollowed(): boolean {
    return this.#metrics === null;
  }

  /** Appends one line to `metrics.jsonl`. Numbers that are not finite become null. */
  appendMetrics(record: Record<string, unknown>): void {
    const line = new TextEncoder().encode(JSON.stringify(record) + "\n");
    this.#onMetrics("write", (file) => writeWhole(file, line));
  }

  #onMetrics<T>(action: string, use: (file: Deno.FsFile) => T): T | undefined {
    const file = this.#metrics;
    if (!file) return undefined;
    return onDisk(`${action} ${join(this.path, "metrics.jsonl")}`, "make room", () => use(file));
  }

  /**
   * Cuts `metrics.jsonl` back to the point that a checkpoint was made at: keeps the lines that `keep`
   * agrees to, and drops the rest, a torn last line included. A file with damaged lines is set aside.
   *
   * @param warn Hears of damaged lines.
   * @returns The records that are left.
   */
  rewindMetrics(
    keep: (record: MetricLine) => boolean,
    warn: (text: string) => void = () => {},
  ): readonly MetricLine[] {
    const path = join(this.path, "metrics.jsonl");
    const before = readFile(path);
    const { records, bytes, damaged } = keepLines(before, keep);
    if (damaged.length > 0) {
      const aside = freeName(`${path}.damaged`);
      writeFileAtomic(aside, [before]);
      const those = damaged.length === 1
        ? `line ${damaged[0]} is`
        : `${damaged.length} lines are, such as line ${damaged[0]},`;
      warn(
        `WARNING: the file as it was is kept as ${aside}, and ${path} goes on without what is damaged in ` +
          `it: ${those} not as a run writes it`,
      );
    }
    this.#onMetrics("cut", (file) => {
      if (bytes.some((byte, at) => byte !== before[at])) {
        file.truncateSync(0);
        writeWhole(file, bytes); // it is open for appending
      } else {
        file.truncateSync(bytes.length);
      }
    });
    return records;
  }

  /** The content of `result.json`; null where it was not written yet. */
  readResult(): RunResult | null {
    return readRunResult(this.path);
  }

  /** Writes or replaces `result.json`. */
  writeResult(result: RunResult): void {
    if (!this.isFollowed) writeJson(join(this.path, "result.json"), result);
  }

  /** Leaves the mark of a run that has come to its end, `DONE`: an exit code may be lost on its way. */
  markDone(): void {
    if (this.isFollowed) return;
    const text = "All stages have run to their end: result.json says what they have come to.\n";
    writeFileAtomic(join(this.path, "DONE"), [new TextEncoder().encode(text)]);
  }

  /** Takes that mark away, as the run goes on. */
  unmarkDone(): void {
    if (!this.isFollowed) removeIfPossible(join(this.path, "DONE"));
  }

  /** The content of `choices.json`; null where it was not written. */
  readChoices(): unknown {
    const path = join(this.path, "choices.json");
    if (!exists(path)) return null;
    try {
      return JSON.parse(new TextDecoder().decode(readFile(path)));
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** Writes or replaces `choices.json`. */
  writeChoices(choices: unknown): void {
    writeJson(join(this.path, "choices.json"), choices);
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
    if (this.isFollowed) return;
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
    this.#onMetrics("write", (file) => file.syncDataSync());
  }

  /** The path of a sample image, `samples/<name>.png`; null where another process writes it. */
  samplePath(name: string): string | null {
    return this.isFollowed ? null : join(this.path, "samples", `${name}.png`);
  }

  /**
   * Removes all that the run has made, the folder itself where it was not there before, if no step was
   * recorded yet: the same command, once it is corrected, then finds its folder free.
   */
  discardUnlessBegun(): void {
    if (!this.#metrics || this.#metrics.statSync().size > 0) return;
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
      this.#metrics?.close();
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

/** Whether a run makes a file or folder of this name in its folder. */
function isMadeByRun(name: string): boolean {
  return /^(metrics\.jsonl|DONE|(config|result|choices)\.json(\.partial)?|events\.out\.tfevents\..+|checkpoints|samples|confusion|soft_labels|pseudo_labels)$/
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

/** A path that nothing has yet: the given one, or with a number behind it. */
function freeName(path: string): string {
  for (let number = 1;; number++) {
    const name = number === 1 ? path : `${path}.${number}`;
    if (!exists(name)) return name;
  }
}
