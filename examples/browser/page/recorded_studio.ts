// What the page shows in a browser without WebGPU: a run that was recorded by `record.ts`, as pictures.

import { streetItem } from "@proda/webgpu";
import type {
  Calls,
  ClassMap,
  Look,
  Picture,
  Scores,
  Street,
  Teaching,
  TrainingEvent,
} from "../protocol.ts";
import type { Recorded } from "../recording.ts";
import { STREETS } from "./classes.ts";
import { pixelsOf } from "./files.ts";
import type { Studio } from "./studio.ts";

/** Milliseconds between two recorded steps. */
const PACE = 120;

/** A studio that plays what was recorded. */
export class RecordedStudio implements Studio {
  readonly #base: string;
  readonly #recorded: Recorded;
  /** Which street the bytes of an image are of. */
  readonly #streetOf = new WeakMap<Uint8Array, number>();
  readonly #listeners: ((event: TrainingEvent) => void)[] = [];
  #isPaused = false;
  /** Counts trainings, so that one that was reset falls silent. */
  #turn = 0;

  private constructor(base: string, recorded: Recorded) {
    this.#base = base;
    this.#recorded = recorded;
  }

  /** Fetches the record; its pictures follow when they are wanted. */
  static async open(base: string): Promise<RecordedStudio> {
    const answer = await fetch(new URL("recorded/run.json", base));
    return new RecordedStudio(base, await answer.json());
  }

  /** The numbers of the recorded streets. */
  get streets(): number[] {
    return this.#recorded.streets.map(({ index }) => index);
  }

  /** See {@link Studio.listen}. */
  listen(listener: (event: TrainingEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** See {@link Studio.ask}. */
  async ask<N extends keyof Calls>(
    name: N,
    argument: Calls[N]["asks"],
  ): Promise<Calls[N]["answers"]> {
    const answers: {
      [M in keyof Calls]: (asks: Calls[M]["asks"]) => Promise<unknown>;
    } = {
      open: () => Promise.resolve({ name: this.#recorded.adapter, isSoftware: false }),
      street: ({ index }) => this.#street(index),
      look: ({ image, network }) => this.#look(image, network),
      teach: ({ image }) => this.#teach(image),
      openNetwork: () => Promise.reject(new Error(NEEDS_WEBGPU)),
      train: () => Promise.resolve(this.#train()),
      pause: (isPaused) => Promise.resolve(this.#isPaused = isPaused),
      reset: () => Promise.resolve(this.#turn++),
    };
    const answer = answers[name] as (asks: Calls[N]["asks"]) => Promise<unknown>;
    return await answer(argument) as Calls[N]["answers"];
  }

  /** One of the recorded streets, drawn here: that takes no GPU. */
  #street(index: number): Promise<Street> {
    const { streets } = this.#recorded;
    const at = streets.findIndex((street) => street.index === index);
    const place = at < 0 ? index % streets.length : at;
    const street = this.#draw(streets[place].index);
    this.#streetOf.set(street.image.data, place);
    return Promise.resolve(street);
  }

  #draw(index: number, split: "train" | "val" = "val"): Street {
    const { seed, width, height } = this.#recorded.drawing;
    const item = streetItem({ seed, domain: "target", split, index, width, height });
    return { image: item.image, label: item.label?.data ?? new Uint8Array() };
  }

  async #look(image: Picture, network: string): Promise<Look> {
    const street = this.#known(image);
    if (network === "here") {
      throw new Error("To look through the network adapted here needs WebGPU.");
    }
    const { [network]: scores } = street.scores;
    const map = await this.#map(`street${street.index}_${network}`);
    return { shown: map, labels: map.labels, scores: scores as Scores, milliseconds: 0 };
  }

  async #teach(image: Picture): Promise<Teaching> {
    const street = this.#known(image);
    const [pseudo, assigned, denoised] = await Promise.all(
      ["pseudo", "assigned", "denoised"].map((kind) => this.#map(`street${street.index}_${kind}`)),
    );
    const { accuracy, prototypeImages } = street;
    return { pseudo, assigned, denoised, accuracy, prototypeImages };
  }

  #known(image: Picture): Recorded["streets"][number] {
    const place = this.#streetOf.get(image.data);
    if (place === undefined) throw new Error(NEEDS_WEBGPU);
    return this.#recorded.streets[place];
  }

  /** Plays the recorded training. */
  #train(): null {
    const turn = ++this.#turn;
    this.#isPaused = false;
    const { training } = this.#recorded;
    const shown = training.shownStreets.map((index) => this.#draw(index));
    const { height } = this.#recorded.drawing;
    this.#tell({ ...training.begin, kind: "begin", shown });
    const play = async () => {
      for (const event of training.events) {
        while (this.#isPaused && turn === this.#turn) await wait(PACE);
        if (turn !== this.#turn) return;
        if (event.kind === "snapshot") {
          const { file, labels: scores, ...snapshot } = event.snapshot;
          const picture = await this.#picture(`${file}.png`);
          const part = (at: number) => mapOf(rowsOf(picture, at * height, height));
          const labels = scores && {
            ...scores,
            example: this.#draw(0, "train"),
            examplePseudo: part(shown.length).labels,
            exampleDenoised: part(shown.length + 1).labels,
          };
          const maps = shown.map((_, at) => part(at));
          this.#tell({ kind: "snapshot", snapshot: { ...snapshot, labels, shown: maps } });
        } else this.#tell(event);
        if (event.kind === "step") await wait(PACE);
      }
    };
    void play();
    return null;
  }

  #tell(event: TrainingEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Classes and their confidence, which lies beside them in a smaller picture. */
  async #map(name: string): Promise<ClassMap> {
    const map = mapOf(await this.#picture(`${name}.png`));
    const small = await this.#picture(`${name}_confidence.png`);
    const confidence = map.confidence.map((_, at) => {
      const x = Math.floor((at % map.width) * small.width / map.width);
      const y = Math.floor(Math.floor(at / map.width) * small.height / map.height);
      return small.data[3 * (y * small.width + x)];
    });
    return { ...map, confidence };
  }

  async #picture(file: string): Promise<Picture> {
    const answer = await fetch(new URL(`recorded/${file}`, this.#base));
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" } as const;
    const bitmap = await createImageBitmap(await answer.blob(), options);
    const { width, height } = bitmap;
    return { data: pixelsOf(bitmap, width, height), width, height };
  }
}

const NEEDS_WEBGPU =
  "Images and networks of your own need WebGPU, which this browser does not have.";

/** The class of every pixel of a picture in class colours. */
function classesOf({ data, width, height }: Picture): Uint8Array<ArrayBuffer> {
  const byColour = new Map(STREETS.palette.map((colour, k) => [colour.join(), k]));
  return Uint8Array.from(
    { length: width * height },
    (_, at) => byColour.get(data.subarray(3 * at, 3 * at + 3).join()) ?? 255,
  );
}

function mapOf(picture: Picture): ClassMap {
  const { width, height } = picture;
  const labels = classesOf(picture);
  return { labels, confidence: new Uint8Array(labels.length).fill(255), width, height };
}

function rowsOf({ data, width }: Picture, first: number, height: number): Picture {
  return { data: data.slice(3 * width * first, 3 * width * (first + height)), width, height };
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
