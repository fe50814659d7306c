// Looking through a network at one image: its prediction, how sure it is, and how stage 1 would label it.

import type { Classes, ClassMap, Look, NetworkName, Picture, Teaching } from "../protocol.ts";
import { inPageColours, STREETS } from "./classes.ts";
import { byId, Choice, messageOf, shown } from "./dom.ts";
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
import type { Studio } from "./studio.ts";

type View =
  | "image"
  | "label"
  | "prediction"
  | "confidence"
  | "assigned"
  | "denoised";

/** The most pixels of a picture's longer side: larger ones are made smaller when they are opened. */
const LONGEST_SIDE = 2048;

/** What is looked at. */
interface Subject {
  readonly name: string;
  readonly image: Picture;
  readonly label: Uint8Array<ArrayBuffer> | null;
  readonly layer: Layer;
}

const KNOWS: Readonly<Record<Exclude<NetworkName, "own">, string>> = {
  source: "This network has learnt labelled, clean, rendered streets and nothing else.",
  warmup: "This network has learnt the clean streets in the colours of the camera's, while a " +
    "second network kept it from telling the two apart.",
  stage1: "This network has also learnt from labels that it made itself of the camera's streets, " +
    "denoised by prototypes.",
  stage3: "This network is the last of five stages: it has learnt twice more from the labels of " +
    "the one before.",
  here: "This is the network that this page is adapting, as it is now.",
};
const PHOTOGRAPHS = " It knows eight classes of small drawn streets and has never seen a " +
  "photograph, so of yours expect road, sky and little else.";

/** Sentences on what each view shows. */
const EXPLAINED: Readonly<Record<View, string>> = {
  image: "The image as the network gets it.",
  label: "What is truly there. Trainings on the target never see it; it serves to measure.",
  prediction: "The class that the network finds most likely, pixel by pixel.",
  confidence: "How sure the network is: the brighter, the higher the probability of its class.",
  assigned: "The class whose prototype, the mean of its features over the target, is nearest to " +
    "the features of each pixel; no classifier is asked. Made by the warm-up network, whichever is " +
    "chosen above.",
  denoised:
    "The label that stage 1 learns, a quarter as large as the image: the warm-up network's " +
    "probabilities, times how near each class's prototype is. Where both disagree, the prototype may " +
    "turn the label round. Made by the warm-up network, whichever is chosen above.",
};

/** The part of the page where one image is looked at. */
export class Inspector {
  readonly #studio: Studio;
  readonly #canvas = byId<HTMLCanvasElement>("inspect-canvas");
  readonly #frame = byId("inspect-frame");
  readonly #readout = byId("inspect-readout");
  readonly #message = byId("inspect-message");
  readonly #network = byId<HTMLSelectElement>("inspect-network");
  readonly #mask = byId<HTMLButtonElement>("inspect-mask");
  readonly #view: Choice<View>;
  #classes: Classes = STREETS;
  #ownClasses: Classes | null = null;
  #ownName = "";
  #subject: Subject | null = null;
  #seen: Look | null = null;
  #taught: Teaching | null = null;
  #street = 11;
  /** Counts what was asked for, so that an answer that comes late is dropped. */
  #asked = 0;

  /** Listens to its controls; shows nothing yet. */
  constructor(studio: Studio) {
    this.#studio = studio;
    this.#view = new Choice(
      byId("inspect-view"),
      "inspect-view",
      [
        ["image", "Image"],
        ["label", "True label"],
        ["prediction", "Prediction"],
        ["confidence", "Confidence"],
        ["assigned", "Nearest prototype"],
        ["denoised", "Denoised label"],
      ],
      () => void this.#look(),
    );
    this.#view.value = "prediction";
    this.#network.addEventListener("change", () => void this.#look());
    this.#mask.addEventListener("click", () => void this.#saveMask());
    byId("inspect-street").addEventListener("click", () => void this.nextStreet());
    this.#listenForFiles();
    this.#listenToPointer();
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
    void this.#look();
  }

  async #take(name: string, image: Picture, label: Uint8Array<ArrayBuffer> | null): Promise<void> {
    this.#subject = { name, image, label, layer: imageLayer(image) };
    this.#view.enable("label", label !== null);
    if (label === null && this.#view.value === "label") {
      this.#view.value = "prediction";
    }
    await this.#look();
  }

  /** Gets what the chosen view needs, and draws it. */
  async #look(): Promise<void> {
    const subject = this.#subject;
    if (!subject) return;
    const turn = ++this.#asked;
    const network = this.#network.value as NetworkName;
    await this.#try(async () => {
      const { image, label } = subject;
      const isOwn = network === "own";
      this.#classes = isOwn && this.#ownClasses ? this.#ownClasses : STREETS;
      const hasLabels = this.#classes === STREETS;
      for (const view of ["assigned", "denoised"] as const) {
        this.#view.enable(view, hasLabels);
      }
      if (!hasLabels && isTaught(this.#view.value)) {
        this.#view.value = "prediction";
      }
      const asked = { image, label: hasLabels ? label : null };
      const seen = await this.#studio.ask("look", { network, ...asked });
      const taught = isTaught(this.#view.value) ? await this.#studio.ask("teach", asked) : null;
      if (turn !== this.#asked) return;
      [this.#seen, this.#taught] = [seen, taught];
      this.#mask.disabled = false;
      showLegend(byId("inspect-legend"), this.#classes);
      this.#explain(network);
      this.#draw();
    });
  }

  #explain(network: NetworkName): void {
    const view = this.#view.value;
    const { scores = null, milliseconds = 0 } = this.#seen ?? {};
    byId("inspect-knows").textContent = network === "own"
      ? `${this.#ownName}, which you have opened: it knows ${this.#classes.names.join(", ")}.`
      : KNOWS[network] + PHOTOGRAPHS;
    byId("inspect-explained").textContent = EXPLAINED[view];
    const time = milliseconds > 0 ? `, in ${Math.round(milliseconds)} ms` : "";
    byId("inspect-scores").textContent = isTaught(view)
      ? `Prototypes are of ${this.#taught?.prototypeImages} unlabelled target streets, made when ` +
        `you first asked. This warm-up network is a strong one: after a short warm-up, as in the ` +
        `training above, there is more to put right.`
      : scores
      ? `On this street: mIoU ${shown(scores.mIoU)} %, ${shown(scores.pixelAccuracy)} % of the ` +
        `pixels right${time}.`
      : `No label to measure this by${time}.`;
  }

  #draw(): void {
    const subject = this.#subject;
    const seen = this.#seen;
    if (!subject || !seen) return;
    const { image, label, layer } = subject;
    this.#frame.style.setProperty("--aspect", `${image.width} / ${image.height}`);
    fitCanvas(this.#canvas, image);
    const classes = this.#classes;
    const map = this.#map();
    this.#drawSteps(subject);
    switch (this.#view.value) {
      case "image":
        return draw(this.#canvas, [{ layer }]);
      case "label":
        return label
          ? drawOver(this.#canvas, layer, classLayer({ ...image, labels: label }, classes))
          : undefined;
      case "prediction":
        return drawOver(this.#canvas, layer, classLayer(seen.shown, classes));
      case "confidence":
        return draw(this.#canvas, [{ layer: confidenceLayer(seen.shown) }]);
      default:
        if (map) {
          draw(this.#canvas, [
            { layer },
            { layer: classLayer(map, classes), opacity: 0.75, crisp: true },
          ]);
        }
    }
  }

  /** The three steps to a denoised label, side by side. */
  #drawSteps({ layer, image }: Subject): void {
    const taught = isTaught(this.#view.value) ? this.#taught : null;
    byId("inspect-steps").hidden = taught === null;
    if (!taught) return;
    const maps = [taught.pseudo, taught.assigned, taught.denoised];
    maps.forEach((map, at) => {
      const canvas = byId<HTMLCanvasElement>(`inspect-step-${at}`);
      canvas.style.setProperty("--aspect", `${image.width} / ${image.height}`);
      fitCanvas(canvas, image);
      draw(canvas, [{ layer }, { layer: classLayer(map, STREETS), opacity: 0.75, crisp: true }]);
      const share = taught.accuracy?.[at];
      byId(`inspect-share-${at}`).textContent = share === undefined
        ? ""
        : `${share.toFixed(1)} % of the pixels right`;
    });
  }

  /** The classes that the chosen view shows. */
  #map(): ClassMap | null {
    const view = this.#view.value;
    return isTaught(view) ? this.#taught?.[view] ?? null : this.#seen?.shown ?? null;
  }

  #listenToPointer(): void {
    const name = (event: PointerEvent) => {
      const { left, top, width, height } = this.#canvas.getBoundingClientRect();
      this.#name((event.clientX - left) / width, (event.clientY - top) / height);
    };
    this.#frame.addEventListener("pointermove", name);
    this.#frame.addEventListener("pointerdown", name);
    this.#frame.addEventListener("pointerleave", () => {
      this.#readout.textContent = "Point at the picture to read a pixel, or use the arrow keys.";
    });
    let [x, y] = [0.5, 0.6];
    this.#canvas.addEventListener("keydown", (event) => {
      const moves: Record<string, [number, number]> = {
        ArrowLeft: [-0.02, 0],
        ArrowRight: [0.02, 0],
        ArrowUp: [0, -0.04],
        ArrowDown: [0, 0.04],
      };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      [x, y] = [
        Math.min(0.999, Math.max(0, x + move[0])),
        Math.min(0.999, Math.max(0, y + move[1])),
      ];
      this.#name(x, y);
    });
  }

  /** Says what a pixel is, by its place in shares of the picture. */
  #name(x: number, y: number): void {
    const map = this.#map();
    const subject = this.#subject;
    if (!map || !subject || !(x >= 0 && x < 1 && y >= 0 && y < 1)) return;
    const at = ({ width, height }: { width: number; height: number }) =>
      Math.floor(y * height) * width + Math.floor(x * width);
    const { names } = this.#classes;
    const probability = Math.round(100 * map.confidence[at(map)] / 255);
    const truth = subject.label && this.#classes === STREETS
      ? `, truly ${names[subject.label[at(subject.image)]] ?? "nothing"}`
      : "";
    const found = names[map.labels[at(map)]] ?? "nothing";
    this.#readout.textContent = `${found}, ${probability} %${truth}`;
    this.#frame.style.setProperty("--x", `${100 * x}%`);
    this.#frame.style.setProperty("--y", `${100 * y}%`);
  }

  #listenForFiles(): void {
    const image = byId<HTMLInputElement>("inspect-file");
    const network = byId<HTMLInputElement>("inspect-checkpoint");
    image.addEventListener("change", () => this.#open(image.files));
    network.addEventListener("change", () => this.#open(network.files));
    const section = byId("look");
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      section.toggleAttribute("data-dropping", true);
    });
    document.addEventListener("dragleave", () => section.removeAttribute("data-dropping"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      section.removeAttribute("data-dropping");
      this.#open(event.dataTransfer?.files ?? null);
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) {
        this.#open(event.clipboardData.files);
      }
    });
  }

  #open(files: FileList | null): void {
    const [file] = files ?? [];
    if (!file) return;
    byId("look").scrollIntoView();
    void this.#try(() =>
      file.name.endsWith(".safetensors") ? this.#openNetwork(file) : this.#openImage(file)
    );
  }

  async #openImage(file: File): Promise<void> {
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error(
        `Cannot open ${file.name} as this browser reads no such image: use PNG or JPEG.`,
      );
    });
    const factor = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const width = Math.max(1, Math.round(bitmap.width * factor));
    const height = Math.max(1, Math.round(bitmap.height * factor));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("This browser cannot draw on a canvas");
    context.drawImage(bitmap, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const rgb = new Uint8Array(width * height * 3);
    for (let at = 0, to = 0; to < rgb.length; at += 4) {
      rgb[to++] = data[at];
      rgb[to++] = data[at + 1];
      rgb[to++] = data[at + 2];
    }
    await this.#take(file.name.replace(/\.[^.]*$/, ""), { data: rgb, width, height }, null);
  }

  async #openNetwork(file: File): Promise<void> {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const info = await this.#studio.ask("openNetwork", { bytes, name: file.name });
    this.#ownClasses = inPageColours(info.classes);
    this.#ownName = `${file.name} (${info.stage}, ${info.step} steps)`;
    const option = this.#option("own");
    option.disabled = option.hidden = false;
    option.textContent = file.name;
    this.#network.value = "own";
    await this.#look();
  }

  async #saveMask(): Promise<void> {
    const [seen, subject] = [this.#seen, this.#subject];
    if (!seen || !subject) return;
    const ids = this.#classes.labelIds;
    const png = await maskPng(seen.labels.map((k) => ids[k]), subject.image);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(png);
    link.download = `${subject.name}_label.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
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

function isTaught(view: View): view is "assigned" | "denoised" {
  return view === "assigned" || view === "denoised";
}
