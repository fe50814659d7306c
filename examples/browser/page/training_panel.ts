// The part of the page where a network is adapted: its controls, its pictures and its curves.

import type {
  LearntLabels,
  Snapshot,
  Street,
  TrainingEvent,
  TrainingRequest,
} from "../protocol.ts";
import { drawChart } from "./chart.ts";
import { STREETS } from "./classes.ts";
import { byId, Choice, make, messageOf, shown } from "./dom.ts";
import { classLayer, drawOver, fitCanvas, imageLayer, type Layer } from "./paint.ts";
import type { Studio } from "./studio.ts";
import { chartsOf, type Heard, STAGES } from "./training_charts.ts";

const CHART_HEIGHT = 220;

/** Something of a training that is shown. */
interface ShownStreet {
  readonly image: Layer;
  readonly canvas: HTMLCanvasElement;
  readonly score: HTMLElement;
}

/** Controls and pictures of a training. */
export class TrainingPanel {
  readonly #studio: Studio;
  readonly #start = byId<HTMLButtonElement>("train-start");
  readonly #reset = byId<HTMLButtonElement>("train-reset");
  readonly #seed = byId<HTMLInputElement>("train-seed");
  readonly #status = byId("train-status");
  readonly #message = byId("train-message");
  readonly #length: Choice<TrainingRequest["length"]>;
  readonly #onNetwork: (isThere: boolean) => void;
  #state: "idle" | "running" | "paused" | "ended" = "idle";
  #heard: Heard | null = null;
  #streets: ShownStreet[] = [];
  #isDrawing = false;

  /**
   * Listens to its controls and to the training.
   *
   * @param onNetwork Hears when the adapted network has changed or is gone.
   */
  constructor(studio: Studio, onNetwork: (isThere: boolean) => void) {
    this.#studio = studio;
    this.#onNetwork = onNetwork;
    this.#length = new Choice(byId("train-length"), "train-length", [
      ["full", "All steps"],
      ["short", "A few steps"],
    ], () => {});
    this.#start.addEventListener("click", () => void this.#toggle());
    this.#reset.addEventListener("click", () => void this.#clear());
    studio.listen((event) => this.#hear(event));
    new ResizeObserver(() => this.#draw()).observe(byId("train-charts"));
    this.#showState();
  }

  /** The length that fits the adapter, unless the visitor chooses another. */
  set length(length: TrainingRequest["length"]) {
    this.#length.value = length;
  }

  async #toggle(): Promise<void> {
    if (this.#state === "running" || this.#state === "paused") {
      const isPaused = this.#state === "running";
      this.#state = isPaused ? "paused" : "running";
      this.#showState();
      await this.#studio.ask("pause", isPaused);
      return;
    }
    this.#message.hidden = true;
    this.#state = "running";
    this.#heard = null;
    this.#status.ariaLive = "off";
    this.#status.textContent = "Fetching the source-only network …";
    this.#showState();
    const seed = Math.max(0, Math.floor(this.#seed.valueAsNumber || 0));
    this.#seed.value = String(seed);
    try {
      await this.#studio.ask("train", { seed, length: this.#length.value });
    } catch (error) {
      this.#hear({ kind: "failed", message: messageOf(error) });
    }
  }

  async #clear(): Promise<void> {
    this.#reset.disabled = true;
    this.#status.textContent = "Stopping after this step …";
    this.#onNetwork(false);
    await this.#studio.ask("reset", null).catch(() => {});
    this.#state = "idle";
    this.#heard = null;
    this.#streets = [];
    byId("train-streets").replaceChildren();
    byId("train-live").hidden = true;
    this.#message.hidden = true;
    this.#status.textContent = "";
    this.#showState();
  }

  #hear(event: TrainingEvent): void {
    if (this.#state === "idle" && event.kind !== "failed") return; // of what was reset
    switch (event.kind) {
      case "begin":
        this.#heard = { ...event, losses: [], snapshots: [] };
        byId("train-live").hidden = false;
        this.#showState();
        byId("train-what").textContent =
          `Learns from ${event.images} clean streets with labels and ${event.images} streets of ` +
          `the camera without. Scores are of ${event.heldBack} other streets of the camera.`;
        this.#showStreets(event.shown);
        break;
      case "doing":
        this.#status.textContent = `${event.text} …`;
        break;
      case "step": {
        const { stage, step, losses, stepsPerSecond, bytes } = event;
        this.#heard?.losses.push({ step: this.#before(stage) + step, losses });
        this.#status.textContent = `${STAGES[stage]?.title ?? stage}, step ${step}: ${
          speed(stepsPerSecond)
        }, arrays of ${(bytes / 2 ** 20).toFixed(0)} MiB on the GPU`;
        this.#showProgress(stage, step);
        break;
      }
      case "snapshot":
        this.#heard?.snapshots.push(event.snapshot);
        this.#showSnapshot(event.snapshot);
        this.#onNetwork(true);
        break;
      case "end": {
        this.#state = "ended";
        this.#status.ariaLive = "polite"; // of the steps before, each would be read out
        const [first, last] = [this.#heard?.snapshots[0], this.#heard?.snapshots.at(-1)];
        this.#status.textContent = `Done: mIoU of the held-back streets went from ${
          shown(first?.mIoU)
        } to ${shown(last?.mIoU)} %. The network can be looked through below.`;
        this.#showState();
        break;
      }
      case "failed":
        this.#state = "ended";
        this.#message.textContent = event.message;
        this.#message.hidden = false;
        this.#status.textContent = "";
        this.#showState();
    }
    this.#draw();
  }

  /** Steps of the stages before one. */
  #before(stage: string): number {
    const { stages = [] } = this.#heard ?? {};
    const at = stages.findIndex(({ name }) => name === stage);
    return stages.slice(0, at).reduce((sum, { steps }) => sum + steps, 0);
  }

  #showState(): void {
    const texts = {
      idle: "Adapt it here",
      running: "Pause",
      paused: "Go on",
      ended: "Adapt again",
    };
    this.#start.textContent = texts[this.#state];
    this.#start.disabled = this.#state === "running" && !this.#heard; // there is nothing to pause yet
    const isIdle = this.#state === "idle" || this.#state === "ended";
    this.#reset.disabled = this.#state === "idle";
    this.#seed.disabled = !isIdle;
    byId<HTMLFieldSetElement>("train-length").disabled = !isIdle;
    if (this.#state === "idle") this.#showProgress("source", 0);
    if (this.#state === "ended" && this.#message.hidden) this.#showProgress("end", 0);
  }

  /** Which stage it is in, and how far. */
  #showProgress(stage: string, step: number): void {
    const stages = [
      { name: "source", steps: 0 },
      ...this.#heard?.stages ?? [{ name: "warmup", steps: 0 }, { name: "stage1", steps: 0 }],
    ];
    const now = stage === "end" ? stages.length : stages.findIndex(({ name }) => name === stage);
    byId("train-stages").replaceChildren(
      ...stages.map(({ name, steps }, at) => {
        const { title, doing } = STAGES[name] ?? { title: name, doing: "" };
        const state = at < now || at === 0 ? "done" : at === now ? "now" : "later";
        const bar = make("span", "progress");
        const shares = { done: 100, now: 100 * step / Math.max(1, steps), later: 0 };
        bar.style.setProperty("--share", `${shares[state]}%`);
        const count = steps === 0 ? "" : ` · ${steps} steps`;
        const item = make(
          "li",
          state,
          make("b", "", `${title}${count}`),
          make("span", "", doing),
          bar,
        );
        if (state === "now") item.setAttribute("aria-current", "step");
        return item;
      }),
    );
  }

  #showStreets(streets: readonly Street[]): void {
    this.#streets = streets.map(({ image }) => {
      const canvas = make("canvas", "");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "A held-back street under the prediction of this moment");
      return { image: imageLayer(image), canvas, score: make("figcaption", "") };
    });
    byId("train-streets").replaceChildren(
      ...this.#streets.map(({ canvas, score }) => make("figure", "", canvas, score)),
    );
  }

  #showSnapshot({ shown: maps, shownScores, steps, labels }: Snapshot): void {
    this.#showLabels(labels);
    maps.forEach((map, at) => {
      const street = this.#streets[at];
      if (!street) return;
      fitCanvas(street.canvas, street.image);
      drawOver(street.canvas, street.image, classLayer(map, STREETS));
      const before = this.#heard?.snapshots[0]?.shownScores[at];
      street.score.textContent = steps === 0
        ? `mIoU ${shown(before)} %, source only`
        : `mIoU ${shown(shownScores[at])} % after ${steps} steps, ${shown(before)} % before`;
    });
  }

  /** A street that it learns from, with its own labels of it. */
  #showLabels(labels: LearntLabels | null): void {
    byId("train-labels").hidden = labels === null;
    if (!labels) return;
    const { image, label } = labels.example;
    const layer = imageLayer(image);
    [labels.examplePseudo, labels.exampleDenoised, label].forEach((classes, at) => {
      const canvas = byId<HTMLCanvasElement>(`train-label-${at}`);
      fitCanvas(canvas, image);
      drawOver(canvas, layer, classLayer({ ...image, labels: classes }, STREETS));
      const right = classes.reduce((sum, k, pixel) => sum + Number(k === label[pixel]), 0);
      byId(`train-share-${at}`).textContent = classes === label
        ? ""
        : `${(100 * right / label.length).toFixed(1)} % of the pixels right`;
    });
  }

  /** Draws the charts, at most once a frame. */
  #draw(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      const heard = this.#heard;
      if (!heard) return;
      for (const [id, chart] of chartsOf(heard)) {
        const element = byId(id);
        drawChart(element, chart, element.clientWidth, CHART_HEIGHT);
      }
    });
  }
}

function speed(stepsPerSecond: number): string {
  return stepsPerSecond >= 1
    ? `${stepsPerSecond.toFixed(1)} steps per second`
    : `${(1 / stepsPerSecond).toFixed(1)} seconds per step`;
}
