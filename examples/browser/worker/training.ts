// Runs a training step by step, tells how it goes, and lets it be paused.

import {
  type DecodedItem,
  evaluationOf,
  measure,
  SamplesInMemory,
  streetItem,
} from "@proda/webgpu";
import type { ClassMap, Snapshot, Street, TrainingEvent } from "../protocol.ts";
import { Adaptation, STAGES } from "./adaptation.ts";
import { type Eye, look, scoresOf } from "./look.ts";
import type { TrainingSettings } from "./settings.ts";

/** How a training is watched. */
export interface WatchOptions {
  /** Streets of the split `val`, which no training sees, that are scored every so often. */
  readonly heldBack: number;
  /** Steps between two snapshots. */
  readonly every: number;
  /** Target streets that the statistics of a snapshot are estimated on. */
  readonly statisticsImages: number;
}

/** Of the held-back streets, those that are shown: scenes with much in them. */
export const SHOWN = [1, 2, 5, 7] as const;
/** Training streets whose labels are compared with the truth, which the training never sees. */
const LABELLED = 4;
/** Steps over which the speed is measured. */
const PACE_STEPS = 8;

/** A training that has begun. */
export class Training implements Disposable {
  readonly #adaptation: Adaptation;
  readonly #settings: TrainingSettings;
  readonly #options: WatchOptions;
  readonly #tell: (event: TrainingEvent) => void;
  readonly #longSide: number;
  #resume: PromiseWithResolvers<void> | null = null;
  #isStopped = false;
  #steps = 0;

  constructor(
    start: Eye,
    settings: TrainingSettings,
    options: WatchOptions,
    tell: (event: TrainingEvent) => void,
  ) {
    this.#adaptation = new Adaptation(start.network, settings);
    this.#settings = settings;
    this.#options = options;
    this.#tell = tell;
    this.#longSide = start.longSide;
  }

  /** The network as it was at the last snapshot. */
  get eye(): Eye {
    return { network: this.#adaptation.shown, longSide: this.#longSide };
  }

  /** Holds the training before its next step, or lets it go on. */
  pause(isPaused: boolean): void {
    if (isPaused) this.#resume ??= Promise.withResolvers();
    else {
      this.#resume?.resolve();
      this.#resume = null;
    }
  }

  /** Trains to the end, or until it is stopped. */
  async run(): Promise<void> {
    const { data: { streets }, stages } = this.#settings;
    const { heldBack, every } = this.#options;
    const held = Array.from({ length: heldBack }, (_, at) => this.#street(at));
    const shown = SHOWN.map((index) => this.#street(index));
    this.#tell({
      kind: "begin",
      stages: STAGES.map((name) => ({ name, steps: stages[name].steps })),
      heldBack: heldBack || shown.length,
      shown: shown.map(streetOf).map(copyOf),
      images: streets.targetTrain,
    });
    const watch = new SamplesInMemory(heldBack > 0 ? held : shown, "sequential");
    await this.#snapshot(shown, watch);
    const pace = new Pace();
    for await (const progress of this.#adaptation.run()) {
      if (progress.kind !== "step") pace.skip();
      if (progress.kind === "drawing") {
        this.#tell({ kind: "doing", text: `Drawing street ${progress.done} of ${progress.total}` });
      } else if (progress.kind === "labelling") {
        this.#tell({
          kind: "doing",
          text: `Making pseudo labels and prototypes of ${progress.images} target streets`,
        });
      } else {
        const { stage, step, of, losses } = progress;
        this.#steps++;
        const stepsPerSecond = pace.add();
        const bytes = this.eye.network.gpu.memory.live;
        this.#tell({ kind: "step", stage, step, losses, stepsPerSecond, bytes });
        if (step % every === 0 || step === of) {
          const isLast = stage === STAGES.at(-1) && step === of;
          await this.#adaptation.show(isLast ? Infinity : this.#options.statisticsImages);
          await this.#snapshot(shown, watch);
          pace.skip();
        }
      }
      if (this.#resume) {
        await this.#resume.promise;
        pace.skip();
      }
      if (this.#isStopped) return;
    }
    this.#tell({ kind: "end" });
  }

  /** A street of the split that no training sees. */
  #street(index: number): DecodedItem {
    const { seed, width, height } = this.#settings.data.streets;
    return streetItem({ seed, domain: "target", split: "val", index, width, height });
  }

  async #snapshot(shown: readonly DecodedItem[], watch: SamplesInMemory): Promise<void> {
    const maps: ClassMap[] = [];
    const shownScores: number[] = [];
    for (const item of shown) {
      const { image, label } = streetOf(item);
      const seen = await look(this.eye, { image, label });
      maps.push(seen.shown);
      shownScores.push(seen.scores?.mIoU ?? NaN);
    }
    const { mIoU } = evaluationOf(await measure(this.eye.network, watch, this.#longSide));
    const snapshot: Snapshot = {
      steps: this.#steps,
      shown: maps,
      shownScores,
      mIoU,
      labels: await this.#labelScores(),
    };
    this.#tell({ kind: "snapshot", snapshot });
  }

  /** How right the labels are that stage 1 learns, before and after they are denoised. */
  async #labelScores(): Promise<Snapshot["labels"]> {
    const adaptation = this.#adaptation;
    const indices = Array.from({ length: LABELLED }, (_, index) => index);
    const [pseudo, denoised] = [
      await adaptation.pseudo(indices),
      await adaptation.denoised(indices),
    ];
    if (!pseudo || !denoised) return null;
    const streets = indices.map((index) => streetOf(adaptation.target[index]));
    const { length } = streets[0].label;
    const share = (labels: Uint32Array) => {
      const pairs = streets.map(({ label }, at) =>
        [label, labels.subarray(at * length, (at + 1) * length)] as const
      );
      return scoresOf(pairs, adaptation.network.classes).pixelAccuracy;
    };
    return {
      pseudo: share(pseudo),
      denoised: share(denoised),
      example: copyOf(streets[0]),
      examplePseudo: Uint8Array.from(pseudo.subarray(0, length)),
      exampleDenoised: Uint8Array.from(denoised.subarray(0, length)),
    };
  }

  /** Stops after the current step. */
  stop(): void {
    this.#isStopped = true;
    this.pause(false);
  }

  /** Frees the network and all else; once it does not run any more. */
  [Symbol.dispose](): void {
    this.#adaptation[Symbol.dispose]();
  }
}

/** A drawn street as what the page takes. */
function streetOf({ image, label }: DecodedItem): Street {
  if (!label) throw new TypeError("Cannot show a street without a label");
  return { image, label: label.data };
}

/** A copy to tell: what is told is handed over. */
function copyOf({ image, label }: Street): Street {
  return { image: { ...image, data: image.data.slice() }, label: label.slice() };
}

/** Measures the speed of steps, without what comes between them. */
class Pace {
  #times: number[] = [];
  #last = performance.now();

  /** A step has been made; the steps per second so far. */
  add(): number {
    const now = performance.now();
    this.#times = [...this.#times.slice(1 - PACE_STEPS), now - this.#last];
    this.#last = now;
    const sum = this.#times.reduce((total, time) => total + time, 0);
    return 1000 * this.#times.length / sum;
  }

  /** What was done since the last step does not count. */
  skip(): void {
    this.#last = performance.now();
  }
}
