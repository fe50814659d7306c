// What a training prints while it runs: one live line for a person at a terminal, plain lines for a
// pipe or a file.

import { visible, writeTo } from "./output.ts";
import { labelFreeScore } from "../train/evaluation/label_free.ts";
import { formatScores } from "../train/evaluation/metrics.ts";
import { formatDuration } from "../train/base/text.ts";
import type {
  EvaluationReport,
  NamedScores,
  PretrainingResult,
  StageResult,
  StageStart,
  StepReport,
  TrainingObserver,
} from "../train/run/observer.ts";
import type { StepTimes } from "../train/run/step_times.ts";

/** An observer that owns the screen until it is closed. */
export interface Progress extends TrainingObserver {
  /** Gives the screen back. */
  close(): void;
}

/** Where lines go: standard output, or standard error where the output is the result's alone. */
export interface Screen {
  /** The stream behind it. */
  readonly stream: "stdout" | "stderr";
  /** Whether a person looks at it. */
  readonly isTerminal: boolean;
  /** Writes text as it is. */
  write(text: string): void;
}

/** Standard output or error as a screen. */
export function screen(stream: "stdout" | "stderr"): Screen {
  return {
    stream,
    isTerminal: Deno[stream].isTerminal(),
    write: (text) => writeTo(stream, text),
  };
}

/**
 * The progress that suits a screen.
 *
 * @param every Steps between two plain lines.
 */
export async function openProgress(to: Screen, every: number): Promise<Progress> {
  if (!to.isTerminal) return new PlainProgress(to, every);
  const { SingleBar } = (await import("cli-progress")).default;
  const { default: process } = await import("node:process");
  const stream = process[to.stream];
  return new LiveProgress(to, (options): Bar => new SingleBar({ ...options, stream }));
}

/** For a process that another one speaks for. */
export const SILENCE: Progress = {
  stageStart() {},
  step() {},
  evaluation() {},
  stageEnd() {},
  message() {},
  close() {},
};

/** One line every few steps. */
export class PlainProgress implements Progress {
  readonly #screen: Screen;
  readonly #every: number;
  #steps = 0;

  /** @param every Steps between two lines; the first and the last step always have one. */
  constructor(to: Screen, every: number) {
    this.#screen = to;
    this.#every = every;
  }

  stageStart({ name, steps, firstStep }: StageStart): void {
    this.#steps = steps;
    this.message(
      firstStep > 0 ? `${name}: goes on at step ${firstStep}/${steps}` : startLine(name, steps),
    );
  }

  step(report: StepReport): void {
    const { stage, steps, losses, stepsPerSecond, waitShare = 0, times } = report;
    const step = report.step + 1;
    if (step !== 1 && step !== steps && step % this.#every !== 0) return;
    this.message(
      [
        stepLabel(stage, step, steps),
        lossTerms(losses),
        `${formatSpeed(stepsPerSecond)}/s`,
        `${formatDuration((steps - step) / stepsPerSecond)} left`,
      ].join(" | ") + waitingFor(waitShare) + exchanging(times),
    );
  }

  evaluation(report: EvaluationReport): void {
    const { stage, step } = report;
    if (step === this.#steps) return; // the stage's end says the same
    this.message(`${stage} step ${step}: ${formatEvaluation(report)}`);
  }

  stageEnd(result: StageResult | PretrainingResult): void {
    this.message(endLine(result));
  }

  message(text: string): void {
    this.#screen.write(`${visible(text)}\n`);
  }

  close(): void {}
}

/** What is used of a cli-progress bar; the package has no types of its own. */
interface Bar {
  start(total: number, value: number, shown: Record<string, string>): void;
  update(value: number, shown: Record<string, string>): void;
  render(force: boolean): void;
  stop(): void;
}

/** Makes a bar of cli-progress options. */
export type BarFactory = (options: Record<string, unknown>) => Bar;

// The terms of the loss stand last, where a narrow terminal cuts the line.
const BAR = "{stage} {bar} {value}/{total} | mIoU {mIoU} | {speed} steps/s | {left} left | {loss}";

/** One line that is drawn over and over; what is worth keeping is printed above it. */
export class LiveProgress implements Progress {
  readonly #screen: Screen;
  readonly #makeBar: BarFactory;
  #bar: Bar | null = null;
  #mIoU = "–";

  constructor(to: Screen, makeBar: BarFactory) {
    this.#screen = to;
    this.#makeBar = makeBar;
  }

  stageStart({ name, steps, firstStep }: StageStart): void {
    this.close();
    this.#bar = this.#makeBar({
      format: BAR,
      barsize: 20,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      fps: 5,
      autopadding: true,
      // Stopping is the training's business: it saves first.
      gracefulExit: false,
    });
    const waiting = { stage: name, loss: "loss –", mIoU: this.#mIoU, speed: "–", left: "–" };
    this.#bar.start(steps, firstStep, waiting);
  }

  step({ step, steps, losses, stepsPerSecond, waitShare = 0 }: StepReport): void {
    const done = step + 1;
    this.#bar?.update(done, {
      loss: lossTerms(losses) + waitingFor(waitShare),
      mIoU: this.#mIoU,
      speed: formatSpeed(stepsPerSecond),
      left: formatDuration((steps - done) / stepsPerSecond),
    });
  }

  evaluation({ step, mIoU }: EvaluationReport): void {
    this.#mIoU = shownScore(mIoU);
    this.#bar?.update(step, { mIoU: this.#mIoU });
  }

  stageEnd(result: StageResult | PretrainingResult): void {
    this.close();
    if ("mIoU" in result) this.#mIoU = shownScore(result.mIoU); // which may be of other statistics
    this.#screen.write(`${visible(endLine(result))}\n`);
  }

  message(text: string): void {
    // Over the bar's line, which then moves down by one.
    this.#screen.write(`\r\x1b[K${visible(text)}\n`);
    this.#bar?.render(true);
  }

  close(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}

/** What a table shows of a stage. */
type TableColumn =
  & Pick<StageResult, "name" | "mIoU" | "classIoU" | "pixelAccuracy" | "handedOn">
  & { readonly source?: Pick<NamedScores, "mIoU"> };

/**
 * The IoU of every class, in the order that the scores have them in, which is that of the data set,
 * with a column per stage, a star at the one whose network is handed on, and the mIoU of held-out source
 * images in the last row; empty where no stage has been scored.
 */
export function classTable(stages: readonly TableColumn[]): string {
  if (stages.every(({ mIoU, source }) => Number.isNaN(mIoU) && !source)) return "";
  const names = [...new Set(stages.flatMap(({ classIoU }) => Object.keys(classIoU)))];
  const table = formatScores(
    names,
    stages.map(({ name, mIoU, pixelAccuracy, classIoU, source, handedOn }) => ({
      title: handedOn ? `${name}*` : name,
      scores: { mIoU, pixelAccuracy, classIoU: names.map((key) => classIoU[key] ?? null) },
      ...(source ? { source: source.mIoU } : {}),
    })),
  );
  return stages.some(({ handedOn }) => handedOn) ? `${table}\n* the network handed on` : table;
}

function lossTerms(losses: StepReport["losses"]): string {
  const terms = Object.entries(losses).map(([name, value]) => `${name} ${formatLoss(value)}`);
  return `loss ${terms.join(" ")}`;
}

/** Three digits or so: the terms of every stage fit a line of a hundred columns. */
function formatLoss(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 10 ? 0 : size >= 1 ? 2 : 3);
}

/** Says that the training waits for its data, where it does so for more than a tenth of the time. */
function waitingFor(share: number): string {
  return share > 0.1 ? ` | ${Math.round(100 * share)} % waiting for data` : "";
}

/** What a process of several does beside computing, in milliseconds a step. */
function exchanging(times: StepTimes | undefined): string {
  if (!times) return "";
  const { readBack, reduce, wait } = times;
  const shown = ([["reading back", readBack], ["reducing", reduce], ["waiting", wait]] as const)
    .map(([what, milliseconds]) => `${what} ${milliseconds.toFixed(1)}`);
  return ` | ms a step: ${shown.join(", ")}`;
}

function shownScore(mIoU: number): string {
  return Number.isNaN(mIoU) ? "unknown" : `${mIoU.toFixed(1)} %`;
}

function formatSpeed(stepsPerSecond: number): string {
  return stepsPerSecond >= 100 ? stepsPerSecond.toFixed(0) : stepsPerSecond.toPrecision(2);
}

function startLine(name: string, steps: number): string {
  return `${name}: ${steps} ${steps === 1 ? "step" : "steps"}`;
}

function stepLabel(stage: string, step: number, steps: number): string {
  const total = String(steps);
  return `${stage} ${String(step).padStart(total.length)}/${total}`;
}

function endLine(result: StageResult | PretrainingResult): string {
  const { name, steps, seconds } = result;
  const time = `${name}: ${steps} steps in ${formatDuration(seconds)}`;
  if (!("mIoU" in result)) return time;
  const { selected } = result;
  const from = selected && selected.step < steps ? ` (network of step ${selected.step})` : "";
  return `${time}, ${formatEvaluation(result)}${from}`;
}

function formatEvaluation(
  report: Omit<EvaluationReport, "stage" | "step" | "source"> & {
    readonly source?: Pick<NamedScores, "mIoU">;
  },
): string {
  const { mIoU, pixelAccuracy, information, source } = report;
  const onSource = source ? `, source mIoU ${source.mIoU.toFixed(1)} %` : "";
  if (!Number.isNaN(mIoU)) {
    return `mIoU ${mIoU.toFixed(1)} %, pixel accuracy ${pixelAccuracy.toFixed(1)} %${onSource}`;
  }
  const score = labelFreeScore(report);
  const known = score !== undefined
    ? `, label-free score ${score.toFixed(1)} %`
    : information !== undefined
    ? `, information ${information.toFixed(1)} %`
    : "";
  return `mIoU unknown without labels${known}${onSource}`;
}
