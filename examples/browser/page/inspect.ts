// Looking through a network at one image: its prediction, how sure it is, and how stage 1 would label it.

import type { Classes, ClassMap, Look, NetworkName, Picture, Teaching } from "../protocol.ts";
import { inPageColours, STREETS } from "./classes.ts";
import { byId, Choice, messageOf, shown } from "./dom.ts";
import { listenForFiles, readPicture, save } from "./files.ts";
import { EXPLAINED, KNOWS, ofPrototypes, PHOTOGRAPHS, type View, VIEWS } from "./inspect_texts.ts";
import { showLegend } from "./legend.ts";
import { maskPng } from "./mask.ts";
import {
  classLayer,
  confidenceLayer,
  draw,
  drawOver,
  fitCanvas,
  imageLayer,
  type Layer,
} from "./paint.ts";
import { listenToPointing } from "./pointing.ts";
import type { Studio } from "./studio.ts";

/** What is looked at. */
interface Subject {
  readonly name: string;
  readonly image: Picture;
  readonly label: Uint8Array<ArrayBuffer> | null;
  readonly layer: Layer;
}

/** What is seen of it; all of one moment. */
interface Seen {
  readonly subject: Subject;
  readonly view: View;
  readonly classes: Classes;
  readonly look: Look;
  readonly taught: Teaching | null;
}

const POINT = "Point at the picture to read a pixel, or use the arrow keys.";

/** The part of the page where one image is looked at. */
export class Inspector {
  readonly #studio: Studio;
  readonly #canvas = byId<HTMLCanvasElement>("inspect-canvas");
  readonly #frame = byId("inspect-frame");
  readonly #message = byId("inspect-message");
  readonly #network = byId<HTMLSelectElement>("inspect-network");
  readonly #mask = byId<HTMLButtonElement>("inspect-mask");
  readonly #view: Choice<View>;
  /** The network that a visitor has opened. */
  #own: { readonly classes: Classes; readonly name: string } | null = null;
  #subject: Subject | null = null;
  #seen: Seen | null = null;
  #street = 11;
  /** Counts what was asked for, so that an answer that comes late is dropped. */
  #asked = 0;

  /** Listens to its controls; shows nothing yet. */
  constructor(studio: Studio) {
    this.#studio = studio;
    const again = () => void this.#try(() => this.#look());
    this.#view = new Choice(byId("inspect-view"), "inspect-view", VIEWS, again);
    this.#view.value = "prediction";
    this.#network.addEventListener("change", again);
    this.#mask.addEventListener("click", () => void this.#saveMask());
    byId("inspect-street").addEventListener("click", () => void this.nextStreet());
    listenForFiles((file) => this.#open(file));
    listenToPointing(this.#canvas, (place) => this.#point(place));
    new ResizeObserver(() => this.#draw()).observe(this.#frame);
    showLegend(byId("inspect-legend"), STREETS);
  }

  /** Draws another street and looks at it. */
  async nextStreet(): Promise<void> {
    const index = ++this.#street;
    await this.#try(async () => {
      const street = await this.#studio.ask("street", { domain: "target", split: "val", index });
      await this.#take(`street-${index + 1}`, street.image, street.label);
    });
  }

  /** The adapted network has changed, or is gone. */
  adaptedChanged(isThere: boolean): void {
    const option = this.#option("here");
    option.disabled = !isThere;
    option.textContent = isThere ? "Adapted here, as it is now" : "Adapted here (start it above)";
    if (this.#network.value !== "here") return;
    if (!isThere) this.#network.value = "stage3";
    void this.#try(() => this.#look());
  }

  #open(file: File): void {
    byId("look").scrollIntoView();
    void this.#try(async () => {
      if (file.name.endsWith(".safetensors")) return await this.#openNetwork(file);
      await this.#take(file.name.replace(/\.[^.]*$/, ""), await readPicture(file), null);
    });
  }

  async #openNetwork(file: File): Promise<void> {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const info = await this.#studio.ask("openNetwork", { bytes, name: file.name });
    const name = `${file.name} (${info.stage}, ${info.step} steps)`;
    this.#own = { classes: inPageColours(info.classes), name };
    const option = this.#option("own");
    option.disabled = option.hidden = false;
    option.textContent = file.name;
    this.#network.value = "own";
    await this.#look();
  }

  async #take(name: string, image: Picture, label: Uint8Array<ArrayBuffer> | null): Promise<void> {
    this.#subject = { name, image, label, layer: imageLayer(image) };
    await this.#look();
  }

  /** Gets what the chosen view needs, and draws it. */
  async #look(): Promise<void> {
    const subject = this.#subject;
    if (!subject) return;
    const turn = ++this.#asked;
    const network = this.#network.value as NetworkName;
    const classes = network === "own" && this.#own ? this.#own.classes : STREETS;
    const isOfStreets = classes === STREETS;
    const label = isOfStreets ? subject.label : null;
    this.#view.enable("label", label !== null);
    for (const view of ["assigned", "denoised"] as const) this.#view.enable(view, isOfStreets);
    const chosen = this.#view.value;
    const isMissing = chosen === "label" ? label === null : isTaught(chosen) && !isOfStreets;
    if (isMissing) this.#view.value = "prediction";
    const view = this.#view.value;
    const asked = { image: subject.image, label };
    const look = await this.#studio.ask("look", { network, ...asked });
    const taught = isTaught(view) ? await this.#studio.ask("teach", asked) : null;
    if (turn !== this.#asked) return;
    this.#seen = { subject, view, classes, look, taught };
    this.#mask.disabled = false;
    showLegend(byId("inspect-legend"), classes);
    this.#explain(network);
    this.#draw();
  }

  #explain(network: NetworkName): void {
    if (!this.#seen) return;
    const { view, classes, taught, look: { scores, milliseconds } } = this.#seen;
    byId("inspect-knows").textContent = network === "own"
      ? `${this.#own?.name}, which you have opened: it knows ${classes.names.join(", ")}.`
      : `${KNOWS[network]} ${PHOTOGRAPHS}`;
    byId("inspect-explained").textContent = EXPLAINED[view];
    const time = milliseconds > 0 ? `, in ${Math.round(milliseconds)} ms` : "";
    byId("inspect-scores").textContent = taught
      ? ofPrototypes(taught.prototypeImages)
      : scores
      ? `On this street: mIoU ${shown(scores.mIoU)} %, ${shown(scores.pixelAccuracy)} % of the ` +
        `pixels right${time}.`
      : `No label to measure this by${time}.`;
  }

  #draw(): void {
    if (!this.#seen) return;
    const { subject: { image, label, layer }, view, classes, look, taught } = this.#seen;
    this.#frame.style.setProperty("--aspect", `${image.width} / ${image.height}`);
    fitCanvas(this.#canvas, image);
    byId("inspect-steps").hidden = taught === null;
    if (taught) this.#drawSteps(this.#seen.subject, taught);
    if (view === "image") draw(this.#canvas, [{ layer }]);
    else if (view === "confidence") draw(this.#canvas, [{ layer: confidenceLayer(look.shown) }]);
    else if (taught && isTaught(view)) drawCells(this.#canvas, layer, taught[view]);
    else {
      const map = view === "label" && label ? { ...image, labels: label } : look.shown;
      drawOver(this.#canvas, layer, classLayer(map, classes));
    }
  }

  /** The three steps to a denoised label, side by side. */
  #drawSteps({ layer, image }: Subject, taught: Teaching): void {
    [taught.pseudo, taught.assigned, taught.denoised].forEach((map, at) => {
      const canvas = byId<HTMLCanvasElement>(`inspect-step-${at}`);
      canvas.style.setProperty("--aspect", `${image.width} / ${image.height}`);
      fitCanvas(canvas, image);
      drawCells(canvas, layer, map);
      const share = taught.accuracy?.[at];
      byId(`inspect-share-${at}`).textContent = share === undefined
        ? ""
        : `${share.toFixed(1)} % of the pixels right`;
    });
  }

  /** Says what the pixel is at a place. */
  #point(place: { readonly x: number; readonly y: number } | null): void {
    const readout = byId("inspect-readout");
    if (!place || !this.#seen) {
      readout.textContent = POINT;
      this.#frame.style.removeProperty("--x");
      return;
    }
    const { x, y } = place;
    const { subject, view, classes: { names }, look, taught } = this.#seen;
    const map = taught && isTaught(view) ? taught[view] : look.shown;
    const at = ({ width, height }: { readonly width: number; readonly height: number }) =>
      Math.floor(y * height) * width + Math.floor(x * width);
    const probability = Math.round(100 * map.confidence[at(map)] / 255);
    const truth = subject.label && names === STREETS.names
      ? `, truly ${names[subject.label[at(subject.image)]] ?? "nothing"}`
      : "";
    readout.textContent = `${names[map.labels[at(map)]] ?? "nothing"}, ${probability} %${truth}`;
    this.#frame.style.setProperty("--x", `${100 * x}%`);
    this.#frame.style.setProperty("--y", `${100 * y}%`);
  }

  async #saveMask(): Promise<void> {
    if (!this.#seen) return;
    const { subject, classes: { labelIds }, look } = this.#seen;
    const png = await maskPng(look.labels.map((k) => labelIds[k]), subject.image);
    save(png, `${subject.name}_label.png`);
  }

  #option(name: NetworkName): HTMLOptionElement {
    const option = this.#network.querySelector<HTMLOptionElement>(`option[value="${name}"]`);
    if (!option) throw new Error(`There is no choice of the network "${name}"`);
    return option;
  }

  /** Does something, and says so where it fails. */
  async #try(action: () => Promise<void>): Promise<void> {
    this.#frame.setAttribute("aria-busy", "true");
    try {
      await action();
      this.#message.hidden = true;
    } catch (error) {
      this.#message.textContent = messageOf(error);
      this.#message.hidden = false;
    } finally {
      this.#frame.removeAttribute("aria-busy");
    }
  }
}

/** Classes of cells over their image, with sharp edges: they are that coarse. */
function drawCells(canvas: HTMLCanvasElement, image: Layer, map: ClassMap): void {
  draw(canvas, [{ layer: image }, { layer: classLayer(map, STREETS), opacity: 0.75, crisp: true }]);
}

function isTaught(view: View): view is "assigned" | "denoised" {
  return view === "assigned" || view === "denoised";
}
