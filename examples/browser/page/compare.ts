// The first screen: a street of the target, through a network that knows the source alone and through an
// adapted one, with a divider between them.

import type { ClassMap, Look, Scores, Street } from "../protocol.ts";
import { css, STREETS } from "./classes.ts";
import { byId, Choice, make, shown } from "./dom.ts";
import { classLayer, draw, drawOver, fitCanvas, imageLayer, type Layer } from "./paint.ts";
import type { Studio } from "./studio.ts";

type View = "over" | "classes" | "image" | "label";

/** What is compared. */
interface Compared {
  readonly image: Layer;
  readonly label: Layer;
  readonly before: { readonly layer: Layer; readonly scores: Scores | null };
  readonly after: { readonly layer: Layer; readonly scores: Scores | null };
}

/** The comparison with its divider. */
export class Comparison {
  readonly #studio: Studio;
  readonly #before = byId<HTMLCanvasElement>("compare-before");
  readonly #after = byId<HTMLCanvasElement>("compare-after");
  readonly #divider = byId<HTMLInputElement>("compare-divider");
  readonly #frame = byId("compare-frame");
  readonly #note = byId("compare-note");
  readonly #next = byId<HTMLButtonElement>("compare-next");
  readonly #view: Choice<View>;
  readonly #order: readonly number[];
  readonly #onError: (error: unknown) => void;
  #place = 0;
  #compared: Compared | null = null;

  /**
   * Listens to its controls; shows nothing yet.
   *
   * @param order Numbers of the streets of the split `val` that are shown, one after the other.
   * @param onError Hears what has failed, and null when all is well again.
   */
  constructor(studio: Studio, order: readonly number[], onError: (error: unknown) => void) {
    this.#studio = studio;
    this.#order = order;
    this.#onError = onError;
    this.#view = new Choice(
      byId("compare-view"),
      "compare-view",
      [
        ["over", "Over the image"],
        ["classes", "Classes alone"],
        ["image", "Image"],
        ["label", "True label"],
      ],
      () => this.#draw(),
    );
    this.#divider.addEventListener("input", () => this.#divide());
    this.#next.addEventListener("click", () => void this.next());
    new ResizeObserver(() => this.#draw()).observe(this.#frame);
    this.#divide();
  }

  /** Goes to the next street and shows it. */
  async next(): Promise<void> {
    const index = this.#order[this.#place++ % this.#order.length];
    this.#next.disabled = true;
    this.#frame.setAttribute("aria-busy", "true");
    try {
      const street = await this.#studio.ask("street", { domain: "target", split: "val", index });
      const asked = { image: street.image, label: street.label };
      const before = await this.#studio.ask("look", { network: "source", ...asked });
      const after = await this.#studio.ask("look", { network: "stage3", ...asked });
      this.#show(street, before, after, index);
      this.#onError(null);
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#next.disabled = false;
      this.#frame.removeAttribute("aria-busy");
    }
  }

  #show(street: Street, before: Look, after: Look, index: number): void {
    const { width, height } = street.image;
    this.#compared = {
      image: imageLayer(street.image),
      label: classLayer({ labels: street.label, width, height }, STREETS),
      before: { layer: layerOf(before.shown), scores: before.scores },
      after: { layer: layerOf(after.shown), scores: after.scores },
    };
    this.#draw();
    byId("before-score").textContent = shown(before.scores?.mIoU);
    byId("after-score").textContent = shown(after.scores?.mIoU);
    showTable(before.scores, after.scores);
    this.#note.textContent = after.milliseconds > 0
      ? `Street ${index + 1}, which no training has seen. Computed in your browser just now, ` +
        `in ${Math.round(before.milliseconds + after.milliseconds)} ms for both networks.`
      : `Street ${index + 1}, which no training has seen. A recorded picture.`;
  }

  #draw(): void {
    if (!this.#compared) return;
    const { image, label, before, after } = this.#compared;
    for (const [canvas, { layer }] of [[this.#before, before], [this.#after, after]] as const) {
      fitCanvas(canvas, image);
      const view = this.#view.value;
      if (view === "over") drawOver(canvas, image, layer);
      else draw(canvas, [{ layer: { classes: layer, image, label }[view] }]);
    }
  }

  #divide(): void {
    this.#frame.style.setProperty("--divider", `${this.#divider.value}%`);
    this.#divider.setAttribute(
      "aria-valuetext",
      `${this.#divider.value} % source only, ${100 - Number(this.#divider.value)} % adapted`,
    );
  }
}

function layerOf(map: ClassMap): Layer {
  return classLayer(map, STREETS);
}

/** IoU by class, before and after, for the classes that the street has. */
function showTable(before: Scores | null, after: Scores | null): void {
  const rows = STREETS.names.flatMap((name, k) => {
    const [was, is] = [before?.classIoU[k] ?? null, after?.classIoU[k] ?? null];
    if (was === null && is === null) return [];
    const swatch = make("span", "swatch");
    swatch.style.background = css(STREETS.palette[k]);
    const head = make("th", "", swatch, name);
    head.scope = "row";
    return make("tr", "", head, cell(was), cell(is), make("td", "gain", gain(was, is)));
  });
  byId("compare-table").replaceChildren(...rows);
}

function cell(value: number | null): HTMLElement {
  const bar = make("span", "bar");
  bar.style.setProperty("--share", `${value ?? 0}%`);
  return make("td", "", make("span", "number", shown(value)), bar);
}

function gain(was: number | null, is: number | null): string {
  if (was === null || is === null) return "";
  const change = is - was;
  return `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(1)}`;
}
